/* Doctor's checks of the fleet. Thread: main. */
#include "common/cli/doctor_fleet.h"

#include <stdio.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/core/json.h"

#define ROOT_SOON_S (180 * 86400LL)
/* Edges ask or report every second: one that was not heard for so long is off, or its link is down. */
#define SILENT_S 60

/* The names of those with this value at key, as far as they fit. */
static size_t names_of(const json_t *list, const char *key, const char *value, char *out, size_t cap) {
    const json_t *e;
    size_t i, n = 0, len = 0;
    out[0] = '\0';
    json_array_foreach(list, i, e) {
        if (key && strcmp(json_text(e, key, ""), value) != 0) continue;
        if (n++ < 5 && len < cap)
            len += (size_t)snprintf(out + len, cap - len, "%s%s", n > 1 ? ", " : "", json_text(e, "name", "?"));
    }
    if (n > 5 && len < cap) snprintf(out + len, cap - len, " and %zu more", n - 5);
    return n;
}

static bool silent(const json_t *edges, struct doctor_check *c) {
    json_t *list = json_array(), *e;
    char names[200];
    size_t i;
    json_array_foreach(edges, i, e) {
        int64_t seen = json_int(e, "seen_at", 0);
        bool active = strcmp(json_text(e, "state", ""), "active") == 0;
        if (active && seen > 0 && clock_wall_s() - seen > SILENT_S) json_array_append(list, e);
    }
    size_t n = names_of(list, NULL, NULL, names, sizeof(names));
    json_decref(list);
    if (n == 0) return false;
    c->verdict = DOCTOR_WARN;
    snprintf(c->message, sizeof(c->message), "not heard for more than a minute: %s", names);
    snprintf(c->todo, sizeof(c->todo),
             "see that each runs and reaches central (`entrepot-edge doctor` there); one that is gone for good: "
             "`edge remove NAME`");
    return true;
}

static bool unreachable(const json_t *fleet, struct doctor_check *c) {
    const json_t *a;
    size_t i;
    json_array_foreach(json_object_get(fleet, "addresses"), i, a) {
        const char *why = json_text(a, "problem", "");
        if (!*why) continue;
        c->verdict = DOCTOR_WARN;
        snprintf(c->message, sizeof(c->message), "tokens name %s, where this central does not answer from here: %s",
                 json_text(a, "address", "?"), why);
        snprintf(c->todo, sizeof(c->todo),
                 "edges must reach one of them: see fleet.listen and fleet.addresses. An address that is right for "
                 "edges alone, or the next one, may stay so");
        return true;
    }
    return false;
}

void doctor_fleet(const json_t *facts, struct doctor_check *c) {
    const json_t *edges = json_object_get(facts, "edges"), *fleet = json_object_get(facts, "fleet"),
                 *rotation = json_object_get(fleet, "rotation");
    char names[200], until[CLOCK_DATE_MAX];
    int64_t root_end = json_int(json_object_get(fleet, "root"), "not_after", INT64_MAX);
    size_t n = names_of(edges, "state", "quarantined", names, sizeof(names));
    c->verdict = DOCTOR_WARN;
    if (n > 0) {
        c->verdict = DOCTOR_FAIL;
        snprintf(c->message, sizeof(c->message), "in quarantine, and refused: %s (`edge show NAME` says why)", names);
        snprintf(
            c->todo, sizeof(c->todo),
            "stop the copy and `entrepot-central edge allow NAME`; or `edge remove NAME`; or give the right machine "
            "a new identity: `edge invite --replace NAME`");
        return;
    }
    n = names_of(json_object_get(rotation, "missing"), NULL, NULL, names, sizeof(names));
    if (n > 0) {
        snprintf(c->message, sizeof(c->message), "the root changes (%s), and waits for %s",
                 json_text(rotation, "state", "?"), names);
        snprintf(c->todo, sizeof(c->todo), "`entrepot-central ca status`; an edge that is gone: `edge remove NAME`");
    } else if (root_end - clock_wall_s() < ROOT_SOON_S) {
        snprintf(c->message, sizeof(c->message), "the fleet's root ends on %s", clock_date(root_end, until));
        snprintf(c->todo, sizeof(c->todo), "`entrepot-central ca rotate`");
    } else if (!unreachable(fleet, c) && !silent(edges, c)) {
        c->verdict = DOCTOR_OK;
        n = names_of(edges, "state", "active", names, sizeof(names));
        snprintf(c->message, sizeof(c->message), "%zu %s; tokens name %s, which answers", n, n == 1 ? "edge" : "edges",
                 json_text(json_array_get(json_object_get(fleet, "addresses"), 0), "address", "?"));
    }
}

/* Central answers, but does not take what this edge reports. */
static bool not_taken(const json_t *status, struct doctor_check *c) {
    const char *why = json_text(json_object_get(status, "reports"), "problem", "");
    if (!*why || !json_is_true(json_object_get(json_object_get(status, "central"), "reachable"))) return false;
    c->verdict = DOCTOR_WARN;
    snprintf(c->message, sizeof(c->message), "central does not take this edge's reports: %.300s", why);
    snprintf(c->todo, sizeof(c->todo),
             "central's DNS does not name an edge that does not report; see central's log, and that central's version "
             "is no older than this one's");
    return true;
}

void doctor_identity(const json_t *status, struct doctor_check *c) {
    const json_t *id = json_object_get(status, "identity");
    const char *problem = json_text(id, "problem", NULL), *configured = json_text(id, "configured_site", ""),
               *site = json_text(id, "site", "");
    int64_t end = json_int(id, "certificate_not_after", 0);
    char when[CLOCK_DATE_MAX];
    c->verdict = DOCTOR_FAIL;
    if (problem) {
        snprintf(c->message, sizeof(c->message), "%.400s", problem);
        snprintf(c->todo, sizeof(c->todo),
                 "put the file back, or on central `edge invite --replace NAME`, and here `join TOKEN`");
    } else if (!json_is_object(id)) {
        c->verdict = DOCTOR_WARN;
        snprintf(c->message, sizeof(c->message),
                 "this edge has not joined a fleet: central answers it on loopback alone");
        snprintf(c->todo, sizeof(c->todo),
                 "on central `entrepot-central edge invite --site NAME`, and here `entrepot-edge join TOKEN`");
    } else if (*configured && strcmp(configured, site) != 0) {
        snprintf(c->message, sizeof(c->message),
                 "the configuration says site: %s, but this edge has joined as %s of %s", configured,
                 json_text(id, "name", "?"), site);
        snprintf(c->todo, sizeof(c->todo), "write site: %s, or join anew with a token for %s", site, configured);
    } else if (end < clock_wall_s()) {
        snprintf(c->message, sizeof(c->message), "the certificate of %s ended on %s by this machine's clock",
                 json_text(id, "name", "?"), clock_date(end, when));
        snprintf(c->todo, sizeof(c->todo),
                 "it is renewed when central answers, within fleet.rejoin_window; after that: on central `edge invite "
                 "--replace %s`, and here `join --replace TOKEN`",
                 json_text(id, "name", "NAME"));
    } else if (!not_taken(status, c)) {
        c->verdict = DOCTOR_OK;
        snprintf(c->message, sizeof(c->message), "%s of %s, certificate good until %s (generation %lld)",
                 json_text(id, "name", "?"), site, clock_date(end, when), (long long)json_int(id, "generation", 0));
    }
}
