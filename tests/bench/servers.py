"""What is measured: Entrepot and its peers, all with two workers, no access log, the same upstream and the same certificate."""

import os
from pathlib import Path

from lab.base import HOST, Process, free_port, listening, run, wait_until
from lab.nodes import Central, Edge, upstreams

WORKERS = 2
TICK = os.sysconf("SC_CLK_TCK")
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def family(pid):
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += family(int(child))
        except OSError:
            pass
    return found


class Server:
    """name as in the table; port; processes; tls is the port that speaks TLS or None."""

    name = ""
    port = tls = None
    processes = ()

    def pids(self):
        return [p for process in self.processes for p in family(process.pid)]

    def cpu(self):
        """Seconds of processor time of all its processes so far."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self):
        """Bytes of memory: proportional set size, so that what workers share counts once."""
        return self._memory("Pss:")

    def anonymous(self):
        return self._memory("Pss_Anon:")

    def _memory(self, key):
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(key):
                    total += int(line.split()[1]) * 1024
        return total

    def pin(self, cpus):
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                try:
                    os.sched_setaffinity(int(task), cpus)
                except OSError:
                    pass

    def forget(self):
        """Only what a cold row needs and cannot get by new content."""

    def stop(self):
        for process in self.processes:
            process.stop()


class Nginx(Server):
    """One nginx with a private prefix; `body` is what stands in its server block."""

    def __init__(self, folder, body, http="", cert=None, port=None, prefix=(), address=HOST):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.tls = free_port() if cert else None
        listens = f"listen {address}:{self.port} backlog=4096;"
        if cert:
            listens += (
                f" listen {address}:{self.tls} ssl backlog=4096; ssl_certificate {cert[0]}; ssl_certificate_key {cert[1]};"
                " ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;"
            )
        temps = "".join(f"{t}_temp_path {self.folder}/{t};" for t in "client_body proxy fastcgi uwsgi scgi".split())
        config = self.folder / "nginx.conf"
        config.write_text(
            f"user root; daemon off; worker_processes {WORKERS}; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            "worker_rlimit_nofile 20000; events { worker_connections 18000; }\n"
            f"http {{ {temps} access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 600s;\n"
            "keepalive_requests 1000000000; open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s;\n"
            f"types {{ }} default_type application/octet-stream;\n{http}\nserver {{ {listens}\n{body}\n}} }}\n"
        )
        argv = [*prefix, "nginx", "-p", self.folder, "-c", config, "-e", self.folder / "error.log"]
        self.processes = [Process(argv, self.folder / "log").spawn()]
        if not prefix:
            wait_until(lambda: listening(self.port), lambda: f"nginx listening\n{self.processes[0].tail()}")


def files_of(root):
    """Serves a registry from plain files: {root}/v2/NAME/manifests/REF and {root}/v2/NAME/blobs/DIGEST."""
    return (
        f"root {root};\n"
        "location = /v2/ { add_header Docker-Distribution-Api-Version registry/2.0 always; default_type application/json; return 200 '{}'; }\n"
        f"location ~ ^/v2/.*/manifests/ {{ default_type {MANIFEST_TYPE}; add_header Docker-Content-Digest $content_digest; }}\n"
        "location ~ ^/v2/.*/blobs/ { add_header Docker-Content-Digest $content_digest; }"
    )


def digest_map(content):
    """The digest of what is asked for: it stands in the path, but for tags."""
    tags = "".join(f'"/v2/{name}/manifests/{tag}" "{digest}";' for name, tag, digest in content.tags)
    return f'map_hash_bucket_size 256; map $uri $content_digest {{ default ""; "~(?<d>sha256:[0-9a-f]+)$" $d; {tags} }}'


class Upstream(Nginx):
    """The registry behind all: nginx on plain files."""

    name = "upstream"

    def __init__(self, folder, content, **how):
        super().__init__(folder, files_of(content.root), digest_map(content), **how)


class NginxStatic(Nginx):
    name = "nginx static"

    def __init__(self, folder, content, cert=None):
        super().__init__(folder, files_of(content.root), digest_map(content), cert)


class NginxCache(Nginx):
    name = "nginx proxy_cache"

    def __init__(self, folder, upstream, cert=None):
        cache = Path(folder) / "cache"
        http = (
            f"proxy_cache_path {cache} levels=1:2 keys_zone=bench:50m max_size=100g inactive=24h use_temp_path=off;\n"
            f"upstream up {{ server {upstream}; keepalive 32; }}"
        )
        body = (
            'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache bench;\n'
            "proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s; proxy_cache_valid 200 1h;\n"
            "proxy_ignore_headers Cache-Control Vary; proxy_max_temp_file_size 0; }"
        )
        super().__init__(folder, body, http, cert)


class DockerRegistry(Server):
    """Debian's docker-registry as a pull-through cache."""

    name = "docker-registry"

    def __init__(self, folder, upstream):
        folder = Path(folder)
        folder.mkdir(parents=True)
        self.port = free_port()
        (folder / "registry.yml").write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n"
            f'http: {{addr: "{HOST}:{self.port}"}}\nproxy: {{remoteurl: "http://{upstream}"}}\n'
        )
        env = {"OTEL_SDK_DISABLED": "true", "GOMAXPROCS": str(WORKERS)}
        self.processes = [Process(["docker-registry", "serve", folder / "registry.yml"], folder / "log", env).spawn()]
        wait_until(lambda: listening(self.port), lambda: f"docker-registry listening\n{self.processes[0].tail()}")


class Floor(Server):
    """What a cold pull costs at least: floor.c."""

    def __init__(self, folder, binary, upstream, how):
        folder = Path(folder)
        folder.mkdir(parents=True)
        self.name = f"floor, {how}"
        self.port = free_port()
        self.processes = [Process([binary, str(self.port), upstream.rpartition(":")[2], folder, how], folder / "log").spawn()]
        wait_until(lambda: listening(self.port), lambda: f"floor listening\n{self.processes[0].tail()}")


class Varnish(Server):
    name = "varnish"

    def __init__(self, folder, upstream):
        folder = Path(folder)
        folder.mkdir(parents=True)
        self.port = free_port()
        host, port = upstream.split(":")
        (folder / "bench.vcl").write_text(
            f'vcl 4.1; backend up {{ .host = "{host}"; .port = "{port}"; }}\n'
            "sub vcl_backend_response { set beresp.ttl = 1h; set beresp.do_gzip = false; set beresp.do_stream = true; }\n"
        )
        argv = ["varnishd", "-F", "-n", folder / "work", "-f", folder / "bench.vcl", "-a", f"{HOST}:{self.port}", "-T", "none"]
        # Room for everything, and no store for objects that it takes for short-lived.
        argv += ["-s", "malloc,6G", "-s", "Transient=malloc,1G", "-j", "none", "-p", f"thread_pools={WORKERS}", "-p", "timeout_idle=600"]
        self.processes = [Process(argv, folder / "log").spawn()]
        wait_until(lambda: listening(self.port), lambda: f"varnish listening\n{self.processes[0].tail()}")


COMMON = {"log.access": "false", "threads.serving": str(WORKERS), "limits.connections_per_address": "0"}


def central(folder, build, upstream, settings=None):
    given = {"upstreams": upstreams(("docker.io", f"http://{upstream}"), fresh_for="1h"), **COMMON, **(settings or {})}
    return Central(folder, given, build).start()


class EntrepotCentral(Server):
    """Central alone: one tier between client and upstream."""

    name = "entrepot, one tier"

    def __init__(self, folder, build, upstream):
        self.node = central(folder, build, upstream)
        self.port = self.node.port
        self.processes = [self.node.process]

    def stop(self):
        self.node.stop()


class Entrepot(Server):
    """client -> edge -> central -> upstream. Memory and warm work are the edge's alone; processor time is both nodes'."""

    name = "entrepot"

    def __init__(self, folder, build, upstream, cert=None, settings=None):
        self.central = central(Path(folder) / "central", build, upstream)
        own = {**COMMON, **(settings or {})}
        self.edge = Edge(Path(folder) / "edge", self.central.fleet, own, build).start()
        self.nodes = [self.edge, self.central]
        if cert:
            # A second edge with TLS over the same central: an edge has one registry port.
            secure = {**own, "registry.cert_file": cert[0], "registry.key_file": cert[1]}
            self.secure = Edge(Path(folder) / "secure", self.central.fleet, secure, build).start()
            self.nodes.insert(0, self.secure)
            self.tls = self.secure.port
        self.port = self.edge.port
        for node in self.nodes:
            if isinstance(node, Edge):
                wait_until(lambda n=node: n.metric("entrepot_central_reachable") == 1, "the edge has heard of central")
        self.processes = [n.process for n in self.nodes]

    def stop(self):
        for node in self.nodes:
            node.stop()


class Link:
    """A name space behind a link of so many Mbit/s; what runs in it is reached at self.far."""

    def __init__(self, mbit):
        self.space, self.near_device, self.far_device = "entrepot-bench", "ebench0", "ebench1"
        self.far, self.near = "198.18.77.2", "198.18.77.1"
        self.prefix = ["ip", "netns", "exec", self.space]
        self.stop()
        run("ip", "netns", "add", self.space)
        run(*f"ip link add {self.near_device} type veth peer name {self.far_device} netns {self.space}".split())
        run(*f"ip addr add {self.near}/30 dev {self.near_device}".split())
        run(*f"ip link set {self.near_device} up".split())
        for words in (f"addr add {self.far}/30 dev {self.far_device}", f"link set {self.far_device} up", "link set lo up"):
            run(*self.prefix, "ip", *words.split())
        run("ethtool", "-K", self.near_device, "tso", "off", "gso", "off")
        run(*self.prefix, "ethtool", "-K", self.far_device, "tso", "off", "gso", "off")
        for prefix, device in ((self.prefix, self.far_device), ([], self.near_device)):
            run(*prefix, *f"tc qdisc add dev {device} root tbf rate {mbit}mbit burst 128kb latency 100ms".split())

    def received(self):
        return int(Path(f"/sys/class/net/{self.near_device}/statistics/rx_bytes").read_text())

    def stop(self):
        run("ip", "link", "del", self.near_device, check=False)
        run("ip", "netns", "del", self.space, check=False)
