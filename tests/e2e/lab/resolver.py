"""A branch's own resolver: unbound, as an ordinary process that asks servers on loopback."""

from .base import HOST


def unbound(folder, port, lines, server=""):
    """The command of one that listens on that port. lines: what its configuration says of zones; server: more of its server's part."""
    config = folder / "unbound.conf"
    config.write_text(f"""
server:
  interface: {HOST}@{port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
{server}
remote-control:
  control-enable: no
{lines}""")
    return ["unbound", "-c", config]
