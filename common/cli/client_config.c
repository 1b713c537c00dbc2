/* `client-config KIND`: what to put where so that a container engine pulls through this node. Thread: main. */
#include "common/cli/cli.h"

#include "common/admin/engine_files.h"
#include "common/core/buf.h"
#include "common/core/host_port.h"
#include "common/core/json.h"
#include "common/core/network.h"
#include "common/admin/control_client.h"
#include "common/cli/engine_write.h"
#include "common/cli/print.h"
#include "common/oci/usual.h"

#include <string.h>

/* Reads upstreams' names from a running daemon's status; doc must outlive out. False: the status has none. If it
 * names no default (an edge that has not reached central yet does not know it), the built-in default is used. */
static bool upstreams_from(const json_t *doc, struct client_upstreams *out) {
    const json_t *list = json_object_get(doc, "upstreams"), *u;
    size_t i;
    memset(out, 0, sizeof(*out));
    bool said = json_object_get(doc, "default_upstream") != NULL, has_hub = false;
    out->default_upstream = json_text(doc, "default_upstream", NULL);
    json_array_foreach(list, i, u) {
        const char *name = json_text(u, "name", NULL);
        if (!name || out->n == ARRAY_LEN(out->names)) continue;
        out->names[out->n++] = name;
        said = said || json_object_get(u, "default");
        has_hub = has_hub || strcmp(name, USUAL_HUB) == 0;
        if (!out->default_upstream && json_is_true(json_object_get(u, "default"))) out->default_upstream = name;
    }
    if (!said && has_hub) out->default_upstream = USUAL_HUB;
    return out->n > 0;
}

static json_t *ask_status(const struct node_config *node) {
    struct error ignored = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, node, &ignored) < 0 || control_json(c, "GET", "/api/status", &doc, &ignored) < 0) return NULL;
    return doc;
}

/* The authority of the node's certificate, if that is the fleet's; the document must outlive it. NULL: it is not, or
 * not known yet. */
static const char *ask_ca(const struct node_config *node, json_t **doc) {
    struct error ignored = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    if (control_open(&c, node, &ignored) < 0 || control_json(c, "GET", "/api/registry/ca", doc, &ignored) < 0)
        return NULL;
    return json_text(*doc, "pem", NULL);
}

static int no_ca(const struct command_context *ctx) {
    struct error err = {0};
    error_set(&err, ERR_UNSUPPORTED, "the authority of this node's certificate (registry.tls: fleet) is not known");
    error_hint(&err, "%s",
               ctx->node->kind == NODE_EDGE ? "let this edge join (entrepot-edge join TOKEN), and start it"
                                            : "start this node");
    return print_failure(ctx, &err);
}

static void put(json_t *o, const char *key, const char *text) {
    json_object_set_new(o, key, json_string(text));
}

static json_t *files_json(const struct client_files *files) {
    json_t *list = json_array();
    for (size_t i = 0; i < files->n; i++) {
        json_t *f = json_object();
        put(f, "path", files->items[i].path);
        put(f, "content", files->items[i].content);
        put(f, "note", files->items[i].note);
        json_array_append_new(list, f);
    }
    json_t *doc = json_object();
    json_object_set_new(doc, "files", list);
    put(doc, "note", files->note ? files->note : "");
    return doc;
}

/* Notes on a JSON file go to standard error, because JSON has no comments and `> FILE` must make a valid file. */
static FILE *notes_of(const struct client_files *files) {
    return files->n && files->items[0].form == CLIENT_FILE_JSON ? stderr : stdout;
}

static void print_files(const struct client_files *files) {
    FILE *notes = notes_of(files);
    for (size_t i = 0; i < files->n; i++) {
        const struct client_file *f = &files->items[i];
        fprintf(notes, "%s# %s\n", i ? "\n" : "", f->path);
        if (*f->note) fprintf(notes, "# %s\n", f->note);
        fputs(f->content, f->form == CLIENT_FILE_JSON ? stdout : notes);
        fflush(stdout);
    }
    for (const char *s = files->note; s && *s;) {
        size_t len = strcspn(s, "\n");
        fprintf(notes, "%s# %.*s\n", s == files->note ? "\n" : "", (int)len, s);
        s += len + (s[len] == '\n');
    }
}

static void upstreams_offline(const struct command_context *ctx, struct client_upstreams *out) {
    memset(out, 0, sizeof(*out));
    if (ctx->program->upstreams)
        ctx->program->upstreams(ctx->node, out);
    else
        client_default_upstreams(out);
}

/* `client-config dns KIND`. */
static int run_dns(const struct command_context *ctx) {
    struct client_dns dns = {.port = 53, .ttl_s = 15};
    struct client_facts facts;
    struct host_port own;
    struct error err = {0};
    const char *zone = command_option_value(ctx, "--zone"), *server = command_option_value(ctx, "--server");
    if (ctx->argc != 2) return print_usage(ctx, "name the kind of resolver: dns " CLIENT_DNS_KINDS);
    if (ctx->json || command_option_given(ctx, "--write") || command_option_given(ctx, "--dry-run") ||
        command_option_given(ctx, "--address"))
        return print_usage(ctx, "dns prints lines only: of the options it takes --zone and --server");
    client_facts_find(&facts, ctx->node);
    if (!host_port_parse(&own, facts.host)) own.host[0] = '\0';
    dns.node = own.host;
    if (ctx->program->dns) ctx->program->dns(ctx->node, &dns);
    if (zone) dns.zone = zone;
    if (!dns.zone)
        return print_usage(ctx, ctx->program->dns ? "dns.zone is not configured: set it, or give --zone NAME"
                                                  : "give --zone NAME and --server ADDRESS, as central has them");
    struct host_port hp = {.port = -1};
    if (config_check_host(dns.zone, &err) < 0) return print_usage(ctx, "%s", err.msg);
    if (server && (!host_port_parse(&hp, server) || !ip_parse(&(struct ip){0}, hp.host, strlen(hp.host))))
        return print_usage(ctx, "\"%.100s\" is no address of a DNS server; write ADDRESS or ADDRESS:PORT", server);
    if (server) {
        dns.servers[0] = hp.host;
        dns.n_servers = 1;
        dns.port = hp.port > 0 ? hp.port : 53;
    }
    if (dns.n_servers == 0 && !ctx->program->dns) return print_usage(ctx, "give --server ADDRESS: central's");
    if (dns.n_servers == 0) dns.servers[dns.n_servers++] = own.host;
    struct buf out;
    buf_init(&out, 0);
    int r = client_dns_lines(ctx->argv[1], &dns, &out, &err);
    if (r == 0) fputs(out.data, stdout);
    buf_fini(&out);
    if (r == 0) return EXIT_DONE;
    print_failure(ctx, &err);
    return r == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_FAILED;
}

static int run_client_config(const struct command_context *ctx) {
    struct client_facts facts;
    struct client_upstreams upstreams;
    struct client_files files;
    struct error err = {0};
    if (strcmp(ctx->argv[0], "dns") == 0) return run_dns(ctx);
    if (ctx->argc > 1) return print_usage(ctx, "name one kind of client: " CLIENT_CONFIG_KINDS);
    client_facts_find(&facts, ctx->node);
    json_t *status = ask_status(ctx->node);
    client_facts_told(&facts, status);
    if (!upstreams_from(status, &upstreams)) upstreams_offline(ctx, &upstreams);
    const char *address = command_option_value(ctx, "--address"), *dir = command_option_value(ctx, "--write");
    bool dry = command_option_given(ctx, "--dry-run");
    if (address && client_facts_given(&facts, address, &err) < 0) {
        json_decref(status);
        return print_usage(ctx, "%s; %s", err.msg, err.hint);
    }
    if ((dry && !dir) || (ctx->json && dir)) {
        json_decref(status);
        return print_usage(ctx,
                           dry && !dir ? "--dry-run goes with --write DIR" : "--json prints, --write writes: give one");
    }
    facts.upstreams = upstreams.names;
    facts.n_upstreams = upstreams.n;
    facts.default_upstream = upstreams.default_upstream;
    json_t *authority = NULL;
    facts.ca = facts.tls ? ask_ca(ctx->node, &authority) : NULL;
    int exit_status = EXIT_DONE;
    int r = client_config_files(ctx->argv[0], &facts, &files, &err);
    if (r == 0 && facts.tls && !facts.ca && ctx->node->registry_tls == REGISTRY_TLS_FLEET) {
        exit_status = no_ca(ctx);
    } else if (r < 0) {
        print_failure(ctx, &err);
        exit_status = r == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_FAILED;
    } else if (dir) {
        exit_status = engine_write(ctx, &files, dir, dry);
    } else if (ctx->json) {
        exit_status = print_json(files_json(&files));
    } else {
        print_files(&files);
    }
    client_files_fini(&files);
    json_decref(authority);
    json_decref(status);
    return exit_status;
}

static const char *const words[] = {"docker", "containerd", "podman", "cri-o", "k3s", "dns", NULL};

static const struct command_example examples[] = {
    {"client-config containerd", "the files that make containerd pull through this node"},
    {"client-config docker > /etc/docker/daemon.json", "make dockerd's file, where there is none yet"},
    {"client-config podman --write /", "put podman's files in place on this machine, showing what changes"},
    {"client-config containerd --write / --dry-run", "only show what would change"},
    {"client-config dns unbound", "the lines by which a branch's resolver finds the zone"},
    {"client-config cri-o --address https://registry.acme.example", "by the name of a reverse proxy before this node"},
};

static const struct command_option options[] = {
    {"--write", "DIR", "put the files where they belong under DIR (/: this machine); shows a diff first"},
    {"--dry-run", NULL, "with --write: show the diff, write nothing"},
    {"--zone", "NAME", "dns: the zone, where this node does not know it"},
    {"--server", "ADDRESS", "dns: the zone's server, central: ADDRESS or ADDRESS:PORT"},
    {"--address", "NAME",
     "how clients reach this node: NAME, NAME:PORT or https://NAME[:PORT], for a proxy in front of it"},
};

const struct command command_client_config = {
    .name = "client-config",
    .summary = "print or write the files that make an engine pull through this node",
    .usage = "docker|containerd|podman|cri-o|k3s [--write DIR [--dry-run]] [--address NAME] | "
             "dns KIND [--zone NAME] [--server ADDRESS]",
    .description =
        "With --write nothing that is there is lost: daemon.json is merged, files that this command has made before\n"
        "are replaced, and others are refused with the lines to add by hand, and then nothing is written. A file that\n"
        "is changed stays beside the new one as NAME.before-entrepot. Symbolic links under DIR are not followed.\n\n"
        "dns KIND prints the lines by which a resolver finds central's zone (one name for every branch); KIND is one "
        "of\n" CLIENT_DNS_KINDS ".",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .n_min = 1,
    .n_max = 2,
    .wanted = "name one kind of client: " CLIENT_CONFIG_KINDS,
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .words = words,
    .where = COMMAND_BOTH,
    .run = run_client_config,
};
