/* Removals as signed records: they reach every edge with the fleet's state, and come back from there to a central that
 * was restored from an older backup. Thread: any that may block. */
#include "central/fleet/roster_private.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/identity/cert.h"

int roster_attest_removal(struct roster *r, const struct edge_facts *f, struct error *err) {
    struct wire_removal_body b = {
        .generation = f->generation, .removed_at = clock_wall_s(), .until = f->not_after + r->cfg.rejoin_window_s};
    struct wire_removal removal = {0};
    struct wire_bytes der = {0};
    if (!r->cfg.attest) return 0;
    snprintf(b.fleet, sizeof(b.fleet), "%s", r->cfg.fleet);
    memcpy(b.name, f->name, sizeof(b.name));
    memcpy(b.site, f->site, sizeof(b.site));
    memcpy(b.key, f->key, sizeof(b.key));
    int code = wire_removal_body_encode(&b, &removal.body.data, &removal.body.len);
    if (code < 0) return error_set(err, code, "the removal of %s cannot be written down", f->name);
    X509 *signer =
        r->cfg.attest(removal.body.data, removal.body.len, &removal.signature.data, &removal.signature.len, r->cfg.arg);
    cert_to_der(signer, &der.data, &der.len);
    code = roster_db_put_removal(r->db, &b, &removal, &der, err);
    free(removal.body.data);
    free(removal.signature.data);
    free(der.data);
    return code;
}

static void add(const struct wire_removal *removal, const struct wire_bytes *signer, void *arg) {
    struct wire_fleet_state *s = arg;
    struct wire_removal copy = *removal;
    struct error err = {0};
    X509 *cert;
    if (cert_from_der(&cert, signer->data, signer->len, &err) < 0) return;
    cert_hash(cert, copy.signer);
    X509_free(cert);
    wire_fleet_state_add(s, &copy);
    wire_fleet_state_add_signer(s, signer->data, signer->len);
}

int roster_removals(struct roster *r, struct wire_fleet_state *into, struct error *err) {
    pthread_mutex_lock(&r->write);
    int code = roster_db_removals(r->db, clock_wall_s(), add, into, err);
    pthread_mutex_unlock(&r->write);
    return code;
}

/* Applies the removal to the facts of the edge. False: an edge of that name has joined anew since, and stays. */
static bool removed_facts(struct roster *r, const struct wire_removal_body *b, struct edge_facts *f) {
    if (!roster_get(r, b->name, f)) {
        *f = (struct edge_facts){.not_after = b->until - r->cfg.rejoin_window_s, .joined_at = b->removed_at};
        memcpy(f->name, b->name, sizeof(f->name));
        memcpy(f->site, b->site, sizeof(f->site));
    } else if (memcmp(f->key, b->key, sizeof(f->key)) != 0 && f->generation >= b->generation) {
        return false;
    }
    memcpy(f->key, b->key, sizeof(f->key));
    if (b->generation > f->generation) f->generation = b->generation;
    f->state = EDGE_REMOVED;
    f->reason[0] = '\0';
    return true;
}

static int write_removal(struct roster *r, const struct wire_removal_body *b, const struct edge_facts *f,
                         const struct wire_removal *removal, const struct wire_bytes *signer, struct error *err) {
    int code = roster_db_exec(r->db, "BEGIN IMMEDIATE", err);
    if (code < 0) return code;
    code = roster_db_put_removal(r->db, b, removal, signer, err);
    if (code == 0 && f) code = roster_db_put(r->db, f, NULL, err);
    if (code == 0) code = roster_db_exec(r->db, "COMMIT", err);
    if (code < 0) sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static void take_facts(struct roster *r, const struct edge_facts *f) {
    pthread_mutex_lock(&r->lock);
    struct edge *e = map_get_s(r->edges, f->name);
    if (!e) e = roster_add(r, f);
    e->facts = *f;
    e->seen_from = (struct ip){0};
    r->changes++;
    pthread_mutex_unlock(&r->lock);
    log_warn("edge_removed", KV_S("edge", f->name),
             KV_S("why", "an edge has shown the signed removal: this central's records were older"));
}

int roster_take_removal(struct roster *r, const struct wire_removal *removal, X509 *signer, struct error *err) {
    struct wire_removal_body b;
    struct edge_facts f = {0};
    struct wire_bytes der;
    int code = wire_removal_body_decode(&b, removal->body.data, removal->body.len);
    if (code < 0 || !member_name_is_valid(b.name) || !member_name_is_valid(b.site) ||
        strcmp(b.fleet, r->cfg.fleet) != 0)
        return error_set(err, ERR_INVALID, "it is no removal of an edge of this fleet");
    if (b.until <= clock_wall_s()) return 0;
    cert_to_der(signer, &der.data, &der.len);
    pthread_mutex_lock(&r->write);
    if (!roster_db_has_removal(r->db, &b)) {
        bool applies = removed_facts(r, &b, &f);
        code = write_removal(r, &b, applies ? &f : NULL, removal, &der, err);
        if (code == 0 && applies) take_facts(r, &f);
        if (code == 0) code = 1;
    }
    pthread_mutex_unlock(&r->write);
    free(der.data);
    return code;
}
