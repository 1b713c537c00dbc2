/* The checks, one function each, in a table in the order in which they run, and those of the daemon and its file.
 * Thread: main. */
#include "common/cli/doctor_checks.h"

#include "common/core/printable.h"
#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/cli/doctor_dns.h"
#include "common/cli/doctor_fleet.h"
#include "common/cli/doctor_resolver.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *doctor_verdict_word(enum doctor_verdict v) {
    static const char *const words[] = {"ok", "warn", "FAIL", "skip"};
    return words[v];
}

void doctor_say(struct doctor_check *c, enum doctor_verdict v, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    c->verdict = v;
    vsnprintf(c->message, sizeof(c->message), fmt, ap);
    va_end(ap);
    text_make_printable(c->message);
}

void doctor_todo(struct doctor_check *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->todo, sizeof(c->todo), fmt, ap);
    va_end(ap);
    text_make_printable(c->todo);
}

bool doctor_needs(struct doctor_check *c, bool met, const char *what) {
    if (!met) doctor_say(c, DOCTOR_SKIP, "not checked, because %s", what);
    return !met;
}

static void check_config(struct doctor *d, struct doctor_check *c) {
    const struct node_config *n = d->node;
    char file[400];
    snprintf(file, sizeof(file), "%.300s", n->config_file ? n->config_file : "defaults, no file");
    size_t len = strlen(file);
    if (n->n_sets) snprintf(file + len, sizeof(file) - len, ", and %zu --set", n->n_sets);
    if (n->n_no_effect == 0) {
        doctor_say(c, DOCTOR_OK, "%s", file);
        return;
    }
    doctor_say(c, DOCTOR_WARN, "%s: %s%s has no effect in this version", file, n->no_effect[0],
               n->n_no_effect > 1 ? " (and others)" : "");
    doctor_todo(c, "take it out, or update; `%s serve --check` lists all", n->program);
}

static void check_daemon(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *ctl = NULL;
    if (control_open(&ctl, d->node, &err) < 0 || control_json(ctl, "GET", "/api/status", &d->status, &err) < 0) {
        doctor_say(c, DOCTOR_FAIL, "%s", err.msg);
        doctor_todo(c, "%s", err.hint[0] ? err.hint : "look at the daemon's log");
        return;
    }
    struct error ignored = {0};
    if (control_json(ctl, "GET", "/api/doctor", &d->doctor, &ignored) < 0) d->doctor = NULL;
    client_facts_told(&d->facts, d->status);
    if (json_is_true(json_object_get(d->status, "ready"))) {
        doctor_say(c, DOCTOR_OK, "%s %s runs, process %lld", d->node->program, json_text(d->status, "version", "?"),
                   (long long)json_int(d->status, "pid", 0));
        return;
    }
    const json_t *first = json_array_get(json_object_get(d->status, "reasons"), 0);
    doctor_say(c, DOCTOR_FAIL, "%s runs, process %lld, but is not ready: %s", d->node->program,
               (long long)json_int(d->status, "pid", 0), json_text(first, "reason", "?"));
    const char *condition = json_text(first, "condition", "");
    doctor_todo(c, strcmp(condition, "settings") == 0       ? "see what `central` says below"
                   : strcmp(condition, "registry_tls") == 0 ? "see what `TLS` says below"
                                                            : "if it stays so, look at the daemon's log");
}

/* Left out for a daemon that is older. */
static void check_fleet(struct doctor *d, struct doctor_check *c) {
    if (!json_object_get(d->doctor, "fleet") && !json_object_get(d->status, "fleet")) return;
    if (d->node->kind == NODE_CENTRAL)
        doctor_fleet(d->doctor, c);
    else
        doctor_identity(d->status, c);
    text_make_printable(c->message);
}

/* Left out where there is no DNS. */
static void check_dns(struct doctor *d, struct doctor_check *c) {
    const json_t *dns = json_object_get(d->doctor, "dns");
    if (dns) doctor_dns(dns, d->node->kind, c);
    text_make_printable(c->message);
}

/* Left out where no zone is known, and the next likewise. */
static void check_address(struct doctor *d, struct doctor_check *c) {
    const json_t *zone = json_object_get(d->doctor, "zone");
    if (json_object_get(zone, "own")) doctor_address(zone, c);
    text_make_printable(c->message);
}

static void check_resolver(struct doctor *d, struct doctor_check *c) {
    const json_t *zone = json_object_get(d->doctor, "zone");
    if (zone) doctor_resolver(zone, d->resolver, c);
    text_make_printable(c->message);
}

static const struct {
    const char *name;
    void (*fn)(struct doctor *d, struct doctor_check *c);
} checks[] = {
    {"config", check_config},
    {"daemon", check_daemon},
    {"data folder", doctor_check_data},
    {"hosted", doctor_check_hosted},
    {"rot", doctor_check_rot},
    {"clock", doctor_check_clock},
    {"names", doctor_check_names},
    {"TCP", doctor_check_tcp},
    {"TLS", doctor_check_tls},
    {"/v2/", doctor_check_v2},
    {"auth", doctor_check_auth},
    {"central", doctor_check_central},
    {"road", doctor_check_road},
    {"fleet", check_fleet},
    {"replica", doctor_check_replica},
    {"upstreams", doctor_check_upstreams},
    {"DNS", check_dns},
    {"address", check_address},
    {"resolver", check_resolver},
    {"test pull", doctor_check_pull},
};
_Static_assert(ARRAY_LEN(checks) <= ARRAY_LEN(((struct doctor *)0)->checks), "every check has room");

void doctor_run(struct doctor *d, const struct node_config *node, const char *resolver,
                void (*each)(const struct doctor_check *c)) {
    memset(d, 0, sizeof(*d));
    d->node = node;
    d->resolver = resolver;
    client_facts_find(&d->facts, node);
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        struct doctor_check *c = &d->checks[d->n];
        c->name = checks[i].name;
        checks[i].fn(d, c);
        if (!c->message[0]) continue; /* this node has no such thing */
        d->n++;
        if (each) each(c);
    }
    json_decref(d->status);
    json_decref(d->doctor);
    d->status = d->doctor = NULL;
}
