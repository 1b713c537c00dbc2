/* The checks, one function each, in a table in the order in which they run. Thread: main. */
#include "common/cli/diagnosis.h"

#include "common/core/printable.h"
#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/json.h"
#include "common/admin/control_client.h"
#include "common/inventory/store_alone.h"
#include "common/cli/doctor_dns.h"
#include "common/cli/doctor_fleet.h"
#include "common/cli/doctor_net.h"
#include "common/cli/doctor_resolver.h"
#include "common/cli/puller.h"
#include "common/cli/print.h"
#include "common/http/server.h"
#include "common/store/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CERTIFICATE_SOON_S (14 * 86400)
/* A clock that is wrong by more than this breaks certificates and tokens. */
enum { SKEW_WARN_S = 30, SKEW_FAIL_S = 300 };
/* 2025-01-01: no clock of a machine that runs this is earlier. */
#define EARLIEST_CLOCK 1735689600

const char *doctor_verdict_word(enum doctor_verdict v) {
    static const char *const words[] = {"ok", "warn", "FAIL", "skip"};
    return words[v];
}

static void say(struct doctor_check *c, enum doctor_verdict v, const char *fmt, ...) printf_like(3, 4);
static void say(struct doctor_check *c, enum doctor_verdict v, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    c->verdict = v;
    vsnprintf(c->message, sizeof(c->message), fmt, ap);
    va_end(ap);
    text_make_printable(c->message);
}

static void todo(struct doctor_check *c, const char *fmt, ...) printf_like(2, 3);
static void todo(struct doctor_check *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->todo, sizeof(c->todo), fmt, ap);
    va_end(ap);
    text_make_printable(c->todo);
}

/* True if an earlier check that this one needs has failed; then prints that this one is skipped. */
static bool needs(struct doctor_check *c, bool met, const char *what) {
    if (!met) say(c, DOCTOR_SKIP, "not checked, because %s", what);
    return !met;
}

static void check_config(struct doctor *d, struct doctor_check *c) {
    const struct node_config *n = d->node;
    char file[400];
    snprintf(file, sizeof(file), "%.300s", n->config_file ? n->config_file : "defaults, no file");
    size_t len = strlen(file);
    if (n->n_sets) snprintf(file + len, sizeof(file) - len, ", and %zu --set", n->n_sets);
    if (n->n_no_effect == 0) {
        say(c, DOCTOR_OK, "%s", file);
        return;
    }
    say(c, DOCTOR_WARN, "%s: %s%s has no effect in this version", file, n->no_effect[0],
        n->n_no_effect > 1 ? " (and others)" : "");
    todo(c, "take it out, or update; `%s serve --check` lists all", n->program);
}

static void check_daemon(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *ctl = NULL;
    if (control_open(&ctl, d->node, &err) < 0 || control_json(ctl, "GET", "/api/status", &d->status, &err) < 0) {
        say(c, DOCTOR_FAIL, "%s", err.msg);
        todo(c, "%s", err.hint[0] ? err.hint : "look at the daemon's log");
        return;
    }
    struct error ignored = {0};
    if (control_json(ctl, "GET", "/api/doctor", &d->doctor, &ignored) < 0) d->doctor = NULL;
    client_facts_told(&d->facts, d->status);
    if (json_is_true(json_object_get(d->status, "ready"))) {
        say(c, DOCTOR_OK, "%s %s runs, process %lld", d->node->program, json_text(d->status, "version", "?"),
            (long long)json_int(d->status, "pid", 0));
        return;
    }
    const json_t *first = json_array_get(json_object_get(d->status, "reasons"), 0);
    say(c, DOCTOR_FAIL, "%s runs, process %lld, but is not ready: %s", d->node->program,
        (long long)json_int(d->status, "pid", 0), json_text(first, "reason", "?"));
    todo(c, "if it stays so, look at the daemon's log");
}

/* Whether the folder's owner may write; a run as root asks for the owner. */
static bool owner_can_use(const char *data, struct error *err) {
    int r = store_alone_as_owner(data, err);
    if (r == 0) r = store_check_folder(data, err);
    store_alone_as_self();
    return r == 0;
}

static void check_data(struct doctor *d, struct doctor_check *c) {
    const char *data = d->node->data;
    struct stat st;
    struct statvfs fs;
    char free_text[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX];
    if (stat(data, &st) < 0 || statvfs(data, &fs) < 0) {
        bool fresh = errno == ENOENT && !d->status;
        say(c, fresh ? DOCTOR_WARN : DOCTOR_FAIL, "%s: %s", data, strerror(errno));
        todo(c, fresh ? "it is made by the first start" : "make the folder, owned by the user the daemon runs as");
        return;
    }
    char limit_text[SIZE_TEXT_MAX];
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize, all = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    const json_t *store = json_object_get(d->status, "store"), *trouble;
    struct error err = {0};
    int64_t limit = json_int(store, "limit", -1); /* as the store has it; unknown without a daemon */
    size_text(room, free_text);
    if (!S_ISDIR(st.st_mode)) {
        say(c, DOCTOR_FAIL, "%s is not a folder", data);
        todo(c, "move it away, or set the key data to another path");
    } else if (access(data, R_OK | W_OK | X_OK) < 0) {
        say(c, DOCTOR_FAIL, "%s may not be written by this user (it belongs to user %u)", data, (unsigned)st.st_uid);
        todo(c, "run this as the daemon's user, or: chown -R that user %s", data);
    } else if (fs.f_flag & ST_RDONLY) {
        say(c, DOCTOR_FAIL, "%s is on a file system mounted read-only", data);
        todo(c, "look for disk errors in the kernel's log (dmesg), then mount it writable again");
    } else if ((trouble = json_object_get(store, "trouble"))) {
        say(c, DOCTOR_FAIL, "%s", json_text(trouble, "message", "?"));
        todo(c, "%s", json_text(trouble, "what_to_do", "?"));
    } else if (!d->status && !owner_can_use(data, &err)) {
        say(c, DOCTOR_FAIL, "%s", err.msg);
        todo(c, "%s", err.hint);
    } else if (limit < 0) {
        say(c, DOCTOR_OK, "%s is writable, %s free on its file system", data, free_text);
    } else if (limit == 0) {
        say(c, DOCTOR_FAIL,
            "nothing can be kept in %s: %s are free, and store.min_free keeps %s free; pulls are passed "
            "through",
            data, free_text, size_text(d->node->store_min_free, want));
        todo(c, "free space, give it a larger file system, or lower store.min_free");
    } else if (limit < all / 50) {
        say(c, DOCTOR_WARN, "the store in %s may take only %s (%s free, of which store.min_free keeps %s)", data,
            size_text(limit, limit_text), free_text, size_text(d->node->store_min_free, want));
        todo(c, "beyond that what is least used is evicted, and what is larger is passed through; give it more room");
    } else {
        say(c, DOCTOR_OK, "%s is writable; the store may take %s, %s free on its file system", data,
            size_text(limit, limit_text), free_text);
    }
}

/* "sha256:… of acme/app, …", as many as there is room for. */
static void list_missing(const json_t *list, char *out, size_t cap) {
    const json_t *m, *repo;
    size_t i, k, len = 0;
    out[0] = '\0';
    json_array_foreach(list, i, m) {
        if (len + 120 > cap) break;
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? "; " : "", json_text(m, "digest", "?"));
        json_array_foreach(json_object_get(m, "repositories"), k, repo) {
            if (len + 80 > cap || k == 3) break;
            len += (size_t)snprintf(out + len, cap - len, "%s%.60s", k ? ", " : " of ", json_string_value(repo));
        }
    }
}

static void check_hosted(struct doctor *d, struct doctor_check *c) {
    const json_t *h = json_object_get(d->doctor, "hosted");
    const char *doubt = json_string_value(json_object_get(h, "doubt"));
    int64_t missing = json_int(h, "missing", 0), blobs = json_int(h, "blobs", 0);
    char list[500];
    if (d->node->kind != NODE_CENTRAL || !h) {
        say(c, DOCTOR_SKIP, "%s",
            d->node->kind == NODE_CENTRAL ? "the daemon does not answer" : "nothing is hosted on an edge");
    } else if (missing > 0) {
        list_missing(json_object_get(h, "missing_blobs"), list, sizeof(list));
        char all[SIZE_TEXT_MAX];
        say(c, DOCTOR_FAIL, "%lld of %s %s missing: %s", (long long)missing, count_text(blobs, "hosted blob", all),
            missing == 1 ? "is" : "are", list);
        todo(c,
             "mount or put back their files under %.150s/blobs (they are seen when asked for, by verify and at a "
             "start), "
             "or load the images again: %s load LAYOUT REPOSITORY:TAG",
             d->node->data, d->node->program);
    } else if (doubt) {
        say(c, DOCTOR_FAIL, "%s", doubt);
        todo(c, "compare `%s ls` with what should be there, load again what is missing, then remove %.150s/%s",
             d->node->program, d->node->data, json_text(h, "notice", "?"));
    } else {
        char some[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX];
        say(c, DOCTOR_OK, "%s, %s, all of them here", count_text(json_int(h, "tags", 0), "tag", some),
            count_text(blobs, "blob", all));
    }
}

static void check_rot(struct doctor *d, struct doctor_check *c) {
    const json_t *store = json_object_get(d->status, "store");
    long long kept = json_int(store, "quarantined", 0), rotten = json_int(store, "rotten", 0);
    char bytes[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    if (needs(c, store != NULL, "no daemon runs")) return;
    if (kept == 0 && rotten == 0) {
        say(c, DOCTOR_OK,
            "no blob with wrong bytes was found since the start, and none is in quarantine; `%s verify` reads all",
            d->node->program);
        return;
    }
    say(c, DOCTOR_WARN, "%s had wrong bytes since the start; %lld, %s, %s in %.200s/quarantine",
        count_text(rotten, "blob", blobs), kept, size_text(json_int(store, "quarantine_bytes", 0), bytes),
        kept == 1 ? "is" : "are", d->node->data);
    todo(c,
         "the disk or the memory of this machine may be failing: look into the kernel's log (dmesg, smartctl) and run "
         "`%s verify`; what is mirrored is fetched again. Remove the files in quarantine when you have seen them",
         d->node->program);
}

/* The largest clock_skew_s (ours minus theirs) among the facts. */
static bool worst_skew(const struct doctor *d, int64_t *skew, const char **whose) {
    const json_t *u, *list = json_object_get(d->doctor, "upstreams"), *central = json_object_get(d->doctor, "central");
    bool found = false;
    size_t i;
    *skew = 0;
    json_array_foreach(list, i, u) {
        const json_t *v = json_object_get(u, "clock_skew_s");
        if (!json_is_number(v)) continue;
        int64_t s = (int64_t)json_number_value(v);
        if (!found || llabs(s) > llabs(*skew)) {
            *skew = s;
            *whose = json_text(u, "name", "an upstream");
        }
        found = true;
    }
    const json_t *v = json_object_get(central, "clock_skew_s");
    if (json_is_number(v) && (!found || llabs((long long)json_number_value(v)) > llabs(*skew))) {
        *skew = (int64_t)json_number_value(v);
        *whose = "central";
        found = true;
    }
    return found;
}

/* An upstream whose certificate looks expired or not yet valid here; NULL: none. */
static const char *looks_expired(const struct doctor *d) {
    const json_t *u, *list = json_object_get(d->doctor, "upstreams");
    size_t i;
    json_array_foreach(list, i, u) {
        if (json_is_true(json_object_get(u, "certificate_time"))) return json_text(u, "name", "an upstream");
    }
    return NULL;
}

static void say_skew(struct doctor_check *c, int64_t skew, const char *whose, const char *expired) {
    char now[CLOCK_DATE_MAX];
    bool fails = expired || llabs(skew) > SKEW_FAIL_S;
    say(c, fails ? DOCTOR_FAIL : DOCTOR_WARN, "%s here is %lld s %s the clock of %s%s%s",
        clock_date(clock_wall_s(), now), llabs((long long)skew), skew > 0 ? "ahead of" : "behind", whose,
        expired ? "; that is why certificates look expired or not yet valid, as that of " : "", expired ? expired : "");
    todo(c, "set the clock, and run a time service (systemd-timesyncd, chrony): certificates and tokens depend on the "
            "time");
}

static void check_clock(struct doctor *d, struct doctor_check *c) {
    int64_t skew;
    char now[CLOCK_DATE_MAX];
    const char *whose = "", *expired = looks_expired(d);
    if (clock_wall_s() < EARLIEST_CLOCK) {
        say(c, DOCTOR_FAIL, "this machine's clock is years behind");
        todo(c, "set it, and run a time service (systemd-timesyncd, chrony)");
    } else if (!worst_skew(d, &skew, &whose) && expired) {
        say(c, DOCTOR_WARN, "it is %s here, and the certificate of %s looks expired or not yet valid",
            clock_date(clock_wall_s(), now), expired);
        todo(c, "compare that with a clock you trust before anything else");
    } else if (!worst_skew(d, &skew, &whose)) {
        say(c, DOCTOR_OK, "plausible; no answer has come yet to compare it with");
    } else if (llabs(skew) > SKEW_WARN_S) {
        say_skew(c, skew, whose, expired);
    } else {
        say(c, DOCTOR_OK, "within %lld s of %s", llabs((long long)skew), whose);
    }
}

/* The other checks use the address, so that a missing DNS name does not hide other faults. */
static void check_names(struct doctor *d, struct doctor_check *c) {
    char why[200];
    d->resolved = net_resolves(d->facts.host, why, sizeof(why));
    const char *name = d->resolved ? NULL : d->facts.host, *key = "address";
    for (size_t i = 0; i < d->node->n_registry_names && !name; i++) {
        if (net_resolves(d->node->registry_names[i], why, sizeof(why))) continue;
        name = d->node->registry_names[i];
        key = "registry.names";
    }
    if (name) {
        say(c, DOCTOR_FAIL, "%s cannot be resolved here: %s", name, why);
        todo(c, "add it to DNS (or /etc/hosts), or correct %s", key);
        return;
    }
    say(c, DOCTOR_OK, "%s%s resolve%s", d->facts.host, d->node->n_registry_names ? " and registry.names" : "",
        d->node->n_registry_names ? "" : "s");
}

static void check_tcp(struct doctor *d, struct doctor_check *c) {
    char why[200];
    if (needs(c, d->resolved, "the node's name cannot be resolved") || needs(c, d->status != NULL, "no daemon runs"))
        return;
    d->connected = net_connects(d->facts.host, why, sizeof(why));
    if (d->connected) {
        say(c, DOCTOR_OK, "%s accepts connections", d->facts.host);
        return;
    }
    say(c, DOCTOR_FAIL, "%s: %s", d->facts.host, why);
    todo(c, "look at registry.listen, address and this machine's firewall");
}

/* GET /v2/ by the address clients use. */
static int ask_v2(const struct doctor *d, bool insecure, struct error *err) {
    char base[CLIENT_HOST_MAX + 16];
    snprintf(base, sizeof(base), "%s://%s", d->facts.tls ? "https" : "http", d->facts.host);
    _cleanup_(control_closep) struct control *ctl = NULL;
    struct control_request rq = {.method = "GET", .path = "/v2/", .max_body = 4096, .timeout_ms = 10000};
    int r = control_open_url(&ctl, d->node, base, insecure, err);
    return r < 0 ? r : control_ask(ctl, &rq, NULL, err);
}

/* Reports a certificate that has expired or soon will, because clients refuse it then. */
static bool certificate_ends(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    char when[CLOCK_DATE_MAX];
    int64_t end = json_int(d->status, "certificate_not_after", 0), left = end - clock_wall_s();
    if (end <= 0 || left > CERTIFICATE_SOON_S) return false;
    int r = ask_v2(d, false, &err);
    d->insecure = r != 0 && r != ERR_DENIED;
    if (left <= 0)
        say(c, DOCTOR_FAIL, "the certificate ended on %s: clients refuse it", clock_date(end, when));
    else
        say(c, DOCTOR_WARN, "the certificate ends on %s, in %lld days", clock_date(end, when),
            (long long)(left / 86400));
    todo(c, "put a new one into registry.cert_file and registry.key_file: it is taken within 10 s, without a restart");
    return true;
}

/* A list of texts as one, as far as it fits. */
static const char *texts(const json_t *list, char *out, size_t cap) {
    size_t i, len = 0;
    const json_t *one;
    out[0] = '\0';
    json_array_foreach(list, i, one) {
        const char *text = json_string_value(one);
        if (text && len < cap) len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? ", " : "", text);
    }
    return out;
}

/* A certificate of the fleet: what counts is whether it is there and bears what clients use, for this machine itself
 * need not trust it. False: it is none. */
static bool fleet_certificate(struct doctor *d, struct doctor_check *c) {
    const json_t *cert = json_object_get(d->status, "registry_certificate");
    const char *problem = json_text(cert, "problem", "");
    int64_t end = json_int(cert, "not_after", 0);
    char when[CLOCK_DATE_MAX], names[300];
    if (!cert) return false;
    d->insecure = true;
    d->tls_ok = end > 0;
    if (end <= clock_wall_s()) {
        if (end > 0)
            say(c, DOCTOR_FAIL, "the certificate ended on %s: clients refuse it; %s", clock_date(end, when), problem);
        else
            say(c, DOCTOR_FAIL, "the port has no certificate, so nobody can pull: %s", problem);
        todo(c, "registry.tls is fleet: the edge must have joined, and reach central; see the line central");
    } else if (*problem) {
        say(c, DOCTOR_WARN, "the certificate is good until %s, but another could not be had: %s", clock_date(end, when),
            problem);
    } else if (json_array_size(json_object_get(cert, "refused")) > 0) {
        say(c, DOCTOR_WARN, "central does not grant this edge the name %s, so clients that use it refuse the port",
            texts(json_object_get(cert, "refused"), names, sizeof(names)));
        todo(c, "on central, add a name to registry.names, an address to the networks of the edge's site in sites");
    } else {
        say(c, DOCTOR_OK, "the fleet's certificate for %s is valid until %s",
            texts(json_object_get(cert, "names"), names, sizeof(names)), clock_date(end, when));
    }
    return true;
}

static void check_tls(struct doctor *d, struct doctor_check *c) {
    struct error err = {0}, without = {0};
    if (needs(c, d->connected, "the registry port was not reached")) return;
    d->tls_ok = true;
    if (fleet_certificate(d, c)) return;
    if (!d->facts.tls) {
        say(c, DOCTOR_OK, "off: clients must be told that this registry speaks plain HTTP%s",
            d->facts.loopback ? " (not for loopback)" : "; client-config does so");
        return;
    }
    if (certificate_ends(d, c)) return;
    int r = ask_v2(d, false, &err);
    if (r == 0 || r == ERR_DENIED) {
        char until[CLOCK_DATE_MAX];
        say(c, DOCTOR_OK, "the certificate is valid for %s until %s", d->facts.host,
            clock_date(json_int(d->status, "certificate_not_after", 0), until));
        return;
    }
    r = ask_v2(d, true, &without);
    if (r == 0 || r == ERR_DENIED) {
        d->insecure = true;
        say(c, DOCTOR_WARN, "this machine does not trust the certificate: %s", err.msg);
        todo(c, "with a CA of your own every client needs its certificate (see client-config); else renew it, with the "
                "name "
                "clients use in it");
        return;
    }
    d->tls_ok = false;
    say(c, DOCTOR_FAIL, "no TLS session with %s: %s", d->facts.host, err.msg);
    todo(c, "look at registry.cert_file and registry.key_file");
}

/* True if the node has refused the connection because this address has too many, or all together. This machine's own
 * programs are counted by the address that doctor, too, comes from. */
static bool over_limit(struct doctor_check *c, const struct error *err) {
    if (!strstr(err->msg, TOO_MANY_CONNECTIONS)) return false;
    todo(
        c,
        "the node works, but its clients have all connections that they may have: raise limits.connections_per_address "
        "(or limits.connections), or name a proxy that many clients come through in registry.trusted_proxies");
    return true;
}

static void check_v2(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    if (needs(c, d->tls_ok, "the registry port was not reached, or speaks no TLS")) return;
    int r = ask_v2(d, d->insecure, &err);
    d->v2_ok = r == 0 || r == ERR_DENIED;
    if (d->v2_ok) {
        say(c, DOCTOR_OK, "the registry API answers at %s", d->facts.host);
        return;
    }
    say(c, DOCTOR_FAIL, "GET /v2/ at %s: %s", d->facts.host, err.msg);
    if (over_limit(c, &err)) return;
    todo(c, "is it this node that listens there, or another program or proxy? Look at the daemon's log");
}

static void check_auth(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    if (needs(c, d->v2_ok, "the registry API does not answer")) return;
    if (ask_v2(d, d->insecure, &err) == ERR_DENIED) {
        say(c, DOCTOR_OK, "clients must log in");
    } else {
        say(c, DOCTOR_OK, "none asked for: anyone who reaches this node may pull");
    }
}

static void check_central(struct doctor *d, struct doctor_check *c) {
    const json_t *central = json_object_get(d->doctor, "central");
    if (!central) central = json_object_get(d->status, "central");
    if (d->node->kind == NODE_CENTRAL) {
        say(c, DOCTOR_OK, "this is central");
        d->central_ok = true;
        return;
    }
    if (needs(c, d->status != NULL, "no daemon runs")) return;
    if (needs(c, central != NULL, "the daemon has not said how it stands with central")) return;
    if (json_is_true(json_object_get(central, "reachable"))) {
        bool polls = json_is_true(json_object_get(central, "polls"));
        say(c, polls ? DOCTOR_WARN : DOCTOR_OK, "%s answers%s", json_text(central, "url", "?"),
            polls ? ", but something on the way holds answers back until they are complete, so changes come by polls"
                  : "");
        if (polls)
            todo(c, "a proxy or firewall between this edge and central buffers: let it pass on what comes at once");
        d->central_ok = true;
        return;
    }
    say(c, DOCTOR_FAIL, "%s: %s", json_text(central, "url", "?"), json_text(central, "message", "not reachable"));
    bool direct = json_is_true(json_object_get(json_object_get(d->doctor, "fallback"), "active"));
    todo(c, "what is held is still served%s. Check that central runs, the key central, and the link to it",
         direct ? ", and public images come from the upstreams directly (fallback)" : "");
}

/* Whether this edge's copy of the catalogue is the same as central's, and kept so. */
static void check_replica(struct doctor *d, struct doctor_check *c) {
    const json_t *r = json_object_get(d->doctor, "replica");
    if (d->node->kind == NODE_CENTRAL) {
        say(c, DOCTOR_OK, "central has the catalogue itself");
        return;
    }
    if (needs(c, r != NULL, "no daemon runs, or it is older") || needs(c, d->central_ok, "central does not answer"))
        return;
    const char *state = json_text(r, "state", "?");
    long long blobs = (long long)json_int(r, "blobs", 0), tags = (long long)json_int(r, "tags", 0);
    if (json_is_true(json_object_get(r, "equal"))) {
        say(c, DOCTOR_OK, "equal to central's catalogue at %s: %lld blobs, %lld tags", json_text(r, "place", "?"),
            blobs, tags);
        return;
    }
    bool part = strcmp(state, "in part") == 0;
    say(c, DOCTOR_WARN, "%s: %lld blobs and %lld tags are here%s", state, blobs, tags,
        json_is_true(json_object_get(r, "live")) ? "" : "; no changes arrive");
    if (part)
        todo(c, "what does not fit is asked of central; raise replica.limit to hold it here");
    else
        todo(c,
             "names and sizes are asked of central until it is equal. If that lasts, see the log for replica_, tile_ "
             "and watch_ events, and whether central is of the same version");
}

/* "NAME (76 of 100 pulls left)", or "NAME: why not", appended to a list. */
static void list_upstream(struct buf *list, const json_t *u, bool good) {
    int64_t left = json_int(u, "rate_remaining", -1), limit = json_int(u, "rate_limit", -1);
    int64_t wait = json_int(u, "wait_s", 0);
    int r = buf_printf(list, "%s%s", list->len ? ", " : "", json_text(u, "name", "?"));
    if (r == 0 && left >= 0 && limit > 0)
        r = buf_printf(list, " (%lld of %lld pulls left)", (long long)left, (long long)limit);
    if (r == 0 && wait > 0) r = buf_printf(list, ": asks to wait %lld s before the next pull", (long long)wait);
    if (r == 0 && !good && wait == 0) r = buf_printf(list, ": %s", json_text(u, "message", "not reachable"));
    if (r < 0) out_of_memory();
}

/* One line for all upstreams. The worst result decides; a failure of the default upstream counts most. */
static void check_upstreams(struct doctor *d, struct doctor_check *c) {
    const json_t *list = json_object_get(d->doctor, "upstreams"), *u;
    if (needs(c, d->status != NULL, "no daemon runs")) return;
    if (needs(c, list || d->central_ok, "central does not answer")) return;
    if (json_array_size(list) == 0) {
        say(c, DOCTOR_SKIP,
            !list && d->node->kind == NODE_EDGE ? "central asks the upstreams and did not tell; run doctor there"
                                                : "no upstream is configured");
        return;
    }
    /* An edge repeats central's report, which is as old as central's last requests; central has just asked all. */
    bool told = d->node->kind == NODE_EDGE;
    const char *whose = told ? "of central: " : "";
    struct buf well, bad, not_asked;
    buf_init(&well, 0);
    buf_init(&bad, 0);
    buf_init(&not_asked, 0);
    size_t i;
    const char *bare = json_text(d->status, "default_upstream", "");
    bool bare_is_bad = false;
    json_array_foreach(list, i, u) {
        bool good = json_is_true(json_object_get(u, "ok")) && json_int(u, "wait_s", 0) == 0;
        bool nothing = told && good && json_int(u, "requests", -1) == 0;
        bare_is_bad = bare_is_bad || (!good && strcmp(json_text(u, "name", ""), bare) == 0);
        list_upstream(!good ? &bad : nothing ? &not_asked : &well, u, good);
    }
    char others[400] = "";
    if (not_asked.len > 0)
        snprintf(others, sizeof(others), "%s%snot known, for central has not needed them since its start: %s",
                 well.len ? well.data : "", well.len ? "; " : "", not_asked.data);
    else if (well.len > 0)
        snprintf(others, sizeof(others), "%s", well.data);
    if (bad.len == 0) {
        say(c, well.len ? DOCTOR_OK : DOCTOR_SKIP, "%s%s", whose, others);
        if (not_asked.len > 0) todo(c, "to have them asked now, run `entrepot-central doctor` on central");
    } else {
        say(c, others[0] && !bare_is_bad ? DOCTOR_WARN : DOCTOR_FAIL, "%s%s%s%s", whose, bad.data,
            others[0] ? "; others: " : "", others);
        todo(c,
             "what is held is still served. Check DNS, the way out (https_proxy), ca_file and credentials of those; a "
             "used-up rate limit rises with a username of that upstream");
    }
    buf_fini(&well);
    buf_fini(&bad);
    buf_fini(&not_asked);
}

static void check_pull(struct doctor *d, struct doctor_check *c) {
    const json_t *named = json_object_get(d->doctor, "test_image");
    if (needs(c, d->v2_ok, "the registry API does not answer")) return;
    if (json_is_null(named)) {
        say(c, DOCTOR_SKIP, "this node has no sample image");
        return;
    }
    const char *image = json_is_string(named) ? json_string_value(named) : "sample/hello:latest";
    char base[CLIENT_HOST_MAX + 16], size[SIZE_TEXT_MAX];
    snprintf(base, sizeof(base), "%s://%s", d->facts.tls ? "https" : "http", d->facts.host);
    struct pull_options o = {.node = d->node, .base = base, .insecure = d->insecure};
    pull_platform(&o.os, &o.arch, &o.variant);
    struct pull_result r;
    struct error err = {0};
    int code = pull_image(&o, image, &r, &err);
    if (code == 0) {
        say(c, DOCTOR_OK, "%s, %s in %lld ms", image, size_text(r.bytes, size), (long long)r.ms);
    } else if (code == ERR_NOT_FOUND) {
        say(c, DOCTOR_WARN, "%s: %s", image, err.msg);
        todo(c,
             "`%s pull REF` of any image tells as much; to have this one, load a layout on central: "
             "`entrepot-central load LAYOUT sample/hello:latest`",
             d->node->program);
    } else {
        say(c, DOCTOR_FAIL, "%s: %s", image, err.msg);
        if (over_limit(c, &err)) return;
        todo(c, "%s", err.hint[0] ? err.hint : "repair what failed above, then look at the daemon's log");
    }
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

/* Left out where no zone is known. */
static void check_resolver(struct doctor *d, struct doctor_check *c) {
    const json_t *zone = json_object_get(d->doctor, "zone");
    if (zone) doctor_resolver(zone, d->resolver, c);
    text_make_printable(c->message);
}

static const struct {
    const char *name;
    void (*fn)(struct doctor *d, struct doctor_check *c);
} checks[] = {
    {"config", check_config}, {"daemon", check_daemon},     {"data folder", check_data},
    {"hosted", check_hosted}, {"rot", check_rot},           {"clock", check_clock},
    {"names", check_names},   {"TCP", check_tcp},           {"TLS", check_tls},
    {"/v2/", check_v2},       {"auth", check_auth},         {"central", check_central},
    {"fleet", check_fleet},   {"replica", check_replica},   {"upstreams", check_upstreams},
    {"DNS", check_dns},       {"resolver", check_resolver}, {"test pull", check_pull},
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
