"""An environment's life, offered to the command line as `orchestrator bootstrap`.

command    the options, and the order: set up, deploy, configure, prove; or destroy
lock       one at a time
children   what is started ends with it
cdk        the CDK command line as a subprocess
local      what AWS on this machine needs besides: its process, and the tools of its one host
"""
