"""CloudFormation as AWS does it, in place of moto's.

moto creates resources in no certain order, drops properties, ignores types it does not know and
calls most updates done without doing them. This package is whole instead: what it cannot do is an
error that names it, and the stack fails with that reason.

    template.py     text -> sections, checked (unknown sections, types of values, cycles)
    parameters.py   template parameters and the values given for them
    intrinsics.py   Ref, Fn::*, conditions, rules, dynamic references
    plan.py         what a stack shall become, and the names its template can refer to
    stack.py        what is known of a stack: status, resources, outputs, events
    engine.py       create, update, roll back, delete, in the order of dependencies
    service.py      the stacks of a region, change sets, and what may be done to them when
    api.py          the service's verbs on the wire; views.py, the shapes of its answers
    resources/      one module a service: how each resource type is created, updated, deleted

A resource type acts only through the public API of its service (see loopback.py): so what it makes
is exactly what a client could have made, checked by botocore against the service's own model.
"""
