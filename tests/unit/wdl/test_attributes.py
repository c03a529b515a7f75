from __future__ import annotations

import pytest

from orchestrator.wdl import attributes, document
from orchestrator.wdl.bundle import Bundle


def load(**files: str) -> document.Document:
    named = {f"{name}.wdl": text for name, text in files.items()}
    return document.load(Bundle("main.wdl", named))


def workflow(task: str, version: str = "1.1") -> document.Document:
    return load(main=f"version {version}\nworkflow w {{ call t }}\n{task}")


def test_a_wrong_literal_is_found_with_its_place() -> None:
    loaded = workflow(
        """task t {
  command <<< >>>
  runtime {
    docker: "d"
    memory: "much"
    maxRetries: -1
  }
}"""
    )
    wrong, advice = attributes.check(loaded)
    assert [(str(f.place), "memory" in f.message or "maxRetries" in f.message) for f in wrong] == [
        ("main.wdl:7:13", True),
        ("main.wdl:8:17", True),
    ]
    assert not advice


def test_unknown_names_are_advice_with_a_place() -> None:
    loaded = workflow('task t { command <<< >>> runtime { docker: "d" memroy: "2 GB" } }')
    wrong, advice = attributes.check(loaded)
    assert not wrong
    assert [str(found.place) for found in advice] == ["main.wdl:3:56"]
    assert "memroy" in advice[0].message


def test_what_depends_on_inputs_is_left_for_later() -> None:
    loaded = workflow(
        'task t { input { Int n = 0 } command <<< >>> runtime { docker: "d" cpu: n '
        'memory: "~{n} GB" disks: "local-disk " + n + " SSD" } }'
    )
    assert attributes.check(loaded) == ([], [])


def test_tasks_of_sub_workflows_are_looked_at_once_and_uncalled_ones_never() -> None:
    loaded = load(
        main="""version 1.1
import "sub.wdl" as sub
workflow w { call sub.s call sub.s as again call sub.t }
""",
        sub="""version 1.1
workflow s { call t }
task t { command <<< >>> runtime { cpu: 0 } }
task unused { command <<< >>> runtime { cpu: 0 } }
""",
    )
    wrong, _ = attributes.check(loaded)
    assert [str(found.place) for found in wrong] == ["sub.wdl:3:41"]


@pytest.mark.parametrize(
    "section",
    [
        'runtime { aws: object { cpu: 0, typo: 1 }, docker: "d" }',
        'requirements { container: "d" } hints { aws: hints { cpu: 0 typo: 1 } gpu: 2 disks: "x" }',
    ],
)
def test_the_aws_object_of_runtime_and_of_hints_is_read(section: str) -> None:
    loaded = workflow(f"task t {{ command <<< >>> {section} }}", "1.2")
    wrong, advice = attributes.check(loaded)
    assert ["cpu is 0" in found.message for found in wrong] == [True]
    assert ["typo" in found.message for found in advice] == [True]
    assert all(found.place is not None for found in (*wrong, *advice))


def test_hints_of_wdl_1_2_do_not_disturb() -> None:
    loaded = workflow(
        """task t {
  input { File f }
  command <<< >>>
  requirements { container: "d"  gpu: true  disks: "10 GiB"  max_retries: 1  return_codes: [0, 1] }
  hints {
    max_cpu: 4
    max_memory: "4 GB"
    gpu: "an A100"
    disks: { "/": "SSD" }
    short_task: true
    localization_optional: true
    inputs: input { f: hints { localization_optional: true } }
  }
}""",
        "1.2",
    )
    assert attributes.check(loaded) == ([], [])
