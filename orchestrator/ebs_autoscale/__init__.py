"""The disk daemon of worker hosts: the data disk grows before it is full.

    __main__    the loop: look, decide, act, once every few seconds
    policy      whether the disk must grow, and how far; pure
    growth      acts: a volume of the host is made larger, else another one is added
    journal     what was begun, so that a daemon that was killed goes on or takes it back
    ec2         EC2's API and the metadata service
    disks       what the kernel says, and the tools of LVM and XFS

A job's host has Python 3.9 and nothing else: so only the standard library is used here, and nothing
of the rest of the orchestrator. It is shipped as it lies, hence the relative imports.
No call goes to EC2 while nothing grows.
"""
