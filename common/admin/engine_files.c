/* The files of each container engine. What each engine does and wants is in docs of its own: moby's registry-mirrors,
 * containerd's docs/hosts.md, containers-registries.conf(5), k3s's private registry page. Thread: main. */
#include "common/admin/engine_files.h"

#include "common/core/alloc.h"
#include "common/oci/usual.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void client_default_upstreams(struct client_upstreams *out) {
    memset(out, 0, sizeof(*out));
    for (; out->n < usual_n_upstreams; out->n++)
        out->names[out->n] = usual_upstreams[out->n];
    out->default_upstream = USUAL_HUB;
}

/* Text is small and bounded by the number of upstreams, so adding it fails only when memory is out. */
static void say(struct buf *b, const char *fmt, ...) printf_like(2, 3);
static void say(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *text;
    if (vasprintf(&text, fmt, ap) < 0 || buf_add_str(b, text) < 0) out_of_memory();
    va_end(ap);
    free(text);
}

static char *text_of(struct buf *b) {
    char *s = buf_steal(b, NULL);
    if (!s) s = xstrdup("");
    return s;
}

/* Takes content; path and note are copied. */
static void file_add(struct client_files *out, enum client_file_form form, const char *path, struct buf *content,
                     const char *note, const char *then) {
    if (out->n == ARRAY_LEN(out->items)) {
        buf_fini(content);
        return;
    }
    struct client_file *f = &out->items[out->n++];
    f->path = xstrdup(path);
    f->content = text_of(content);
    f->note = xstrdup(note);
    f->then = then;
    f->form = form;
}

static void note_set(struct client_files *out, const char *fmt, ...) printf_like(2, 3);
static void note_set(struct client_files *out, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *more, *both;
    if (vasprintf(&more, fmt, ap) < 0) out_of_memory();
    va_end(ap);
    if (!out->note) {
        out->note = more;
        return;
    }
    both = xasprintf("%s\n%s", out->note, more);
    free(more);
    free(out->note);
    out->note = both;
}

static const char *scheme(const struct client_facts *f) {
    return f->tls ? "https" : "http";
}

/* "[2001:db8::5]:5050" */
static bool is_ipv6_literal(const struct client_facts *f) {
    return f->host[0] == '[';
}

static bool is_default(const struct client_facts *f, const char *upstream) {
    return f->default_upstream && strcmp(f->default_upstream, upstream) == 0;
}

/* Where engines look for the authority of this node's certificate. */
#define CA_PATH_MAX (CLIENT_HOST_MAX + 72)
static void ca_path(const struct client_facts *f, const char *folder, char out[CA_PATH_MAX]) {
    snprintf(out, CA_PATH_MAX, "%.60s/%.299s/ca.crt", folder, f->host);
}

/* The authority's certificates, if they are known. */
static void ca_file(struct client_files *out, const struct client_facts *f, const char *path) {
    struct buf b;
    buf_init(&b, 0);
    say(&b, "%s", f->ca);
    file_add(out, CLIENT_FILE_OWN, path, &b, "", NULL);
}

static void private_ca_in(struct client_files *out, const struct client_facts *f, const char *folder) {
    char where[CA_PATH_MAX];
    ca_path(f, folder, where);
    if (f->tls && f->ca)
        ca_file(out, f, where);
    else if (f->tls)
        note_set(out, "If the certificate of %s is from your own CA, put the CA's certificate at %s", f->host, where);
}

/* Images that no mirror serves are pulled by this node's address. */
static void docker_others(const struct client_facts *f, bool mirror, struct client_files *out) {
    struct buf names;
    buf_init(&names, 0);
    for (size_t i = 0; i < f->n_upstreams; i++) {
        const char *u = f->upstreams[i];
        if (strchr(u, ':') || (mirror && strcmp(u, USUAL_HUB) == 0)) continue;
        say(&names, "%s%s", names.len ? ", " : "", u);
    }
    if (names.len > 0)
        note_set(out, "By address, not by mirror: docker pull %s/UPSTREAM/REPOSITORY:TAG, with UPSTREAM one of %s",
                 f->host, names.data);
    buf_fini(&names);
}

/* The registry that containerd asks when this node does not answer. */
static const char *upstream_server(const char *upstream) {
    return strcmp(upstream, USUAL_HUB) == 0 ? USUAL_HUB_HOST : upstream;
}

static void hosts_toml(const struct client_facts *f, const char *folder, const char *host, const char *server,
                       struct client_files *out) {
    struct buf b;
    buf_init(&b, 0);
    char path[2 * CLIENT_HOST_MAX];
    snprintf(path, sizeof(path), "%s/%s/hosts.toml", folder, host);
    char ca[CA_PATH_MAX];
    bool has_ca = f->tls && f->ca, own = strcmp(host, f->host) == 0;
    ca_path(f, folder, ca);
    say(&b, "server = \"%s\"\n", server);
    if (has_ca && own) say(&b, "ca = \"%s\"\n", ca);
    /* containerd ends a table's name at the first ], within quotes, too, and then refuses the whole file. */
    if (is_ipv6_literal(f))
        say(&b, "\n[host]\n  \"%s://%s\" = { capabilities = [\"pull\", \"resolve\"]", scheme(f), f->host);
    else
        say(&b, "\n[host.\"%s://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", scheme(f), f->host);
    if (has_ca && is_ipv6_literal(f))
        say(&b, ", ca = \"%s\"", ca);
    else if (has_ca)
        say(&b, "  ca = \"%s\"\n", ca);
    if (is_ipv6_literal(f)) say(&b, " }\n");
    file_add(out, CLIENT_FILE_OWN, path, &b, "", NULL);
}

/* containerd's library reads one folder for each registry, also in dockerd. */
static void hosts_files(const struct client_facts *f, const char *folder, struct client_files *out) {
    char server[CLIENT_HOST_MAX + 16];
    for (size_t i = 0; i < f->n_upstreams; i++) {
        snprintf(server, sizeof(server), "https://%s", upstream_server(f->upstreams[i]));
        hosts_toml(f, folder, f->upstreams[i], server, out);
    }
    snprintf(server, sizeof(server), "%s://%s", scheme(f), f->host);
    hosts_toml(f, folder, f->host, server, out);
}

static void hosts_ca(const struct client_facts *f, struct client_files *out) {
    if (f->tls && !f->ca)
        note_set(out,
                 "If the certificate of %s is from your own CA, add to each [host] table: ca = \"/path/of/ca.crt\"",
                 f->host);
}

/* dockerd uses mirrors for docker.io only and does not name the registry in its requests. So bare names on this node
 * must mean docker.io, or dockerd would get images of another registry. */
static void docker(const struct client_facts *f, struct client_files *out) {
    struct buf b;
    buf_init(&b, 0);
    bool mirror = is_default(f, USUAL_HUB), insecure = !f->tls && !f->loopback;
    say(&b, "{");
    if (mirror) say(&b, "\n  \"registry-mirrors\": [\"%s://%s\"]%s", scheme(f), f->host, insecure ? "," : "");
    if (insecure) say(&b, "\n  \"insecure-registries\": [\"%s\"]", f->host);
    say(&b, "\n}\n");
    if (mirror || insecure) {
        file_add(out, CLIENT_FILE_JSON, "/etc/docker/daemon.json", &b,
                 "Merge these keys into the file if it exists, then: systemctl reload docker (or restart dockerd).",
                 "systemctl reload docker");
    } else {
        buf_fini(&b);
    }
    hosts_files(f, "/etc/docker/certs.d", out);
    note_set(
        out,
        "The files in /etc/docker/certs.d are read by Engine 29 and later with its containerd image store (`docker "
        "info` says \"driver-type: io.containerd.snapshotter.v1\"), for every registry; older ones pass over "
        "them. `client-config docker --write /` puts all in place.");
    private_ca_in(out, f, "/etc/docker/certs.d");
    hosts_ca(f, out);
    if (!mirror)
        note_set(out, "dockerd uses a mirror only for docker.io, which is not what a bare name means on this node.");
    if (is_ipv6_literal(f))
        note_set(out,
                 "docker takes no IPv6 address in an image's name: for what no mirror serves give this node a name "
                 "that clients resolve (--address NAME).");
    else
        docker_others(f, mirror, out);
}

static void containerd(const struct client_facts *f, struct client_files *out) {
    struct buf b;
    buf_init(&b, 0);
    say(&b, "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
            "  config_path = \"/etc/containerd/certs.d\"\n");
    file_add(out, CLIENT_FILE_CONTAINERD, "/etc/containerd/config.toml", &b,
             "Merge into the file, then: systemctl restart containerd. With containerd 2 (version = 3) the table is "
             "[plugins.\"io.containerd.cri.v1.images\".registry]. The files below need no restart.",
             "systemctl restart containerd");
    hosts_files(f, "/etc/containerd/certs.d", out);
    if (f->ca) private_ca_in(out, f, "/etc/containerd/certs.d");
    note_set(out,
             "ctr reads these files with --hosts-dir /etc/containerd/certs.d; nerdctl and Kubernetes by themselves.");
    hosts_ca(f, out);
}

/* containers/image sends no ns, so the mirror's path says which upstream is meant (design: a first component that names
 * an upstream). A port there is no valid name, so such an upstream can only be reached as the default one. */
static void registries_conf(const struct client_facts *f, const char *then, struct client_files *out) {
    struct buf b;
    buf_init(&b, 0);
    const char *insecure = f->tls ? "" : "insecure = true\n";
    for (size_t i = 0; i < f->n_upstreams; i++) {
        const char *u = f->upstreams[i];
        bool bare = strchr(u, ':') != NULL;
        if (bare && !is_default(f, u)) {
            note_set(out, "%s cannot be mirrored for this engine: a port within an image name is not allowed.", u);
            continue;
        }
        say(&b, "[[registry]]\nprefix = \"%s\"\nlocation = \"%s\"\n\n[[registry.mirror]]\nlocation = \"%s%s%s\"\n%s\n",
            u, u, f->host, bare ? "" : "/", bare ? "" : u, insecure);
    }
    say(&b, "[[registry]]\nprefix = \"%s\"\nlocation = \"%s\"\n%s", f->host, f->host, insecure);
    file_add(out, CLIENT_FILE_OWN, "/etc/containers/registries.conf.d/50-entrepot.conf", &b, "", then);
    private_ca_in(out, f, "/etc/containers/certs.d");
}

static void podman(const struct client_facts *f, struct client_files *out) {
    registries_conf(f, NULL, out);
    note_set(out, "Nothing to restart. For one user alone: ~/.config/containers/registries.conf.d/50-entrepot.conf");
}

static void crio(const struct client_facts *f, struct client_files *out) {
    registries_conf(f, "systemctl reload crio", out);
    note_set(out, "Then: systemctl reload crio");
}

#define K3S_CA "/etc/rancher/k3s/entrepot-ca.crt"
static void k3s(const struct client_facts *f, struct client_files *out) {
    struct buf b;
    buf_init(&b, 0);
    say(&b, "mirrors:\n");
    for (size_t i = 0; i <= f->n_upstreams; i++) {
        const char *name = i < f->n_upstreams ? f->upstreams[i] : f->host;
        say(&b, "  \"%s\":\n    endpoint:\n      - \"%s://%s\"\n", name, scheme(f), f->host);
    }
    if (f->tls && f->ca) say(&b, "configs:\n  \"%s\":\n    tls:\n      ca_file: " K3S_CA "\n", f->host);
    file_add(out, CLIENT_FILE_OWN, "/etc/rancher/k3s/registries.yaml", &b,
             "Merge into the file if it exists, on every node, then: systemctl restart k3s (or k3s-agent).",
             "systemctl restart k3s (or k3s-agent)");
    if (f->tls && f->ca)
        ca_file(out, f, K3S_CA);
    else if (f->tls)
        note_set(out,
                 "If the certificate of %s is from your own CA, add:\nconfigs:\n  \"%s\":\n    tls:\n      ca_file: "
                 "/path/of/ca.crt",
                 f->host, f->host);
}

struct kind {
    const char *name;
    void (*fn)(const struct client_facts *f, struct client_files *out);
    /* These engines accept no IPv6 address as a location; k3s would write a broken file for containerd from it. */
    bool wants_name;
};
static const struct kind kinds[] = {
    {"docker", docker, .wants_name = false}, {"containerd", containerd, .wants_name = false},
    {"podman", podman, .wants_name = true},  {"cri-o", crio, .wants_name = true},
    {"crio", crio, .wants_name = true},      {"k3s", k3s, .wants_name = true},
};

int client_config_files(const char *kind, const struct client_facts *facts, struct client_files *out,
                        struct error *err) {
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, kind) != 0) continue;
        if (kinds[i].wants_name && is_ipv6_literal(facts)) {
            error_set(err, ERR_UNSUPPORTED, "%s takes no IPv6 address as a registry, and %s is one", kind, facts->host);
            error_hint(err,
                       "give this node a name that clients resolve: --address NAME here, or the key address (--set "
                       "address=NAME) of the node");
            return ERR_UNSUPPORTED;
        }
        kinds[i].fn(facts, out);
        return 0;
    }
    error_set(err, ERR_NOT_FOUND, "there is no client kind \"%.60s\"", kind);
    if (strcmp(kind, "kubernetes") == 0 || strcmp(kind, "k8s") == 0)
        error_hint(err, "Kubernetes pulls by the engine of its nodes: name that one, containerd or cri-o (or k3s)");
    else
        error_hint(err, "known kinds: %s", CLIENT_CONFIG_KINDS);
    return ERR_NOT_FOUND;
}

void client_files_fini(struct client_files *f) {
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].path);
        free(f->items[i].content);
        free(f->items[i].note);
    }
    free(f->note);
    memset(f, 0, sizeof(*f));
}
