/* What `doctor` says of what a node fetches from: central, the copy of its catalogue, and upstreams. Thread: main. */
#include "common/cli/doctor_checks.h"

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/json.h"

#include <stdio.h>
#include <string.h>

void doctor_check_central(struct doctor *d, struct doctor_check *c) {
    const json_t *central = json_object_get(d->doctor, "central");
    if (!central) central = json_object_get(d->status, "central");
    if (d->node->kind == NODE_CENTRAL) {
        doctor_say(c, DOCTOR_OK, "this is central");
        d->central_ok = true;
        return;
    }
    if (doctor_needs(c, d->status != NULL, "no daemon runs")) return;
    if (doctor_needs(c, central != NULL, "the daemon has not said how it stands with central")) return;
    if (json_is_true(json_object_get(central, "reachable"))) {
        bool polls = json_is_true(json_object_get(central, "polls"));
        doctor_say(
            c, polls ? DOCTOR_WARN : DOCTOR_OK, "%s answers%s", json_text(central, "url", "?"),
            polls ? ", but something on the way holds answers back until they are complete, so changes come by polls"
                  : "");
        if (polls)
            doctor_todo(c,
                        "a proxy or firewall between this edge and central buffers: let it pass on what comes at once");
        d->central_ok = true;
        return;
    }
    doctor_say(c, DOCTOR_FAIL, "%s: %s", json_text(central, "url", "?"),
               json_text(central, "message", "not reachable"));
    bool ready = json_is_true(json_object_get(d->status, "ready")); /* it has heard central once, perhaps by a tunnel */
    if (!ready && !json_is_object(json_object_get(d->status, "identity"))) {
        doctor_todo(c, "this edge has not joined a fleet, and nobody can pull by it until it has: on central "
                       "`entrepot-central edge invite --site NAME`, and here `entrepot-edge join TOKEN`");
        return;
    }
    if (json_is_true(json_object_get(central, "refused"))) {
        doctor_todo(c, "what is held is still served. On central, `entrepot-central edge list` shows how this edge "
                       "stands, and `edge show NAME` what can be done");
        return;
    }
    bool direct = json_is_true(json_object_get(json_object_get(d->doctor, "fallback"), "active"));
    doctor_todo(c, "what is held is still served%s. Check that central runs, the key central, and the link to it",
                direct ? ", and public images come from the upstreams directly (fallback)" : "");
}

/* Whether this edge's copy of the catalogue is the same as central's, and kept so. */
void doctor_check_replica(struct doctor *d, struct doctor_check *c) {
    const json_t *r = json_object_get(d->doctor, "replica");
    if (d->node->kind == NODE_CENTRAL) {
        doctor_say(c, DOCTOR_OK, "central has the catalogue itself");
        return;
    }
    if (doctor_needs(c, r != NULL, "no daemon runs, or it is older") ||
        doctor_needs(c, d->central_ok, "central does not answer"))
        return;
    const char *state = json_text(r, "state", "?");
    long long blobs = (long long)json_int(r, "blobs", 0), tags = (long long)json_int(r, "tags", 0);
    if (json_is_true(json_object_get(r, "equal"))) {
        doctor_say(c, DOCTOR_OK, "equal to central's catalogue at %s: %lld blobs, %lld tags",
                   json_text(r, "place", "?"), blobs, tags);
        return;
    }
    bool part = strcmp(state, "in part") == 0;
    doctor_say(c, DOCTOR_WARN, "%s: %lld blobs and %lld tags are here%s", state, blobs, tags,
               json_is_true(json_object_get(r, "live")) ? "" : "; no changes arrive");
    if (part)
        doctor_todo(c, "what does not fit is asked of central; raise replica.limit to hold it here");
    else
        doctor_todo(
            c, "names and sizes are asked of central until it is equal. If that lasts, see the log for replica_, tile_ "
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
void doctor_check_upstreams(struct doctor *d, struct doctor_check *c) {
    const json_t *list = json_object_get(d->doctor, "upstreams"), *u;
    if (doctor_needs(c, d->status != NULL, "no daemon runs")) return;
    if (doctor_needs(c, list || d->central_ok, "central does not answer")) return;
    if (json_array_size(list) == 0) {
        doctor_say(c, DOCTOR_SKIP,
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
        doctor_say(c, well.len ? DOCTOR_OK : DOCTOR_SKIP, "%s%s", whose, others);
        if (not_asked.len > 0) doctor_todo(c, "to have them asked now, run `entrepot-central doctor` on central");
    } else {
        doctor_say(c, others[0] && !bare_is_bad ? DOCTOR_WARN : DOCTOR_FAIL, "%s%s%s%s", whose, bad.data,
                   others[0] ? "; others: " : "", others);
        doctor_todo(
            c,
            "what is held is still served. Check DNS, the way out (https_proxy), ca_file and credentials of those; a "
            "used-up rate limit rises with a username of that upstream");
    }
    buf_fini(&well);
    buf_fini(&bad);
    buf_fini(&not_asked);
}
