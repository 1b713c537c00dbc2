/* Invites, and the certificates that edges get by them and renew. Thread: work pool. */
#include "central/fleet/roster_private.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/identity/cert.h"

/* --- invites --- */

static int check_replaced(struct roster *r, const struct invite *i, struct error *err) {
    struct edge_facts f;
    if (!i->replaces[0]) return 0;
    if (!roster_get(r, i->replaces, &f)) {
        error_set(err, ERR_NOT_FOUND, "there is no edge %.100s to replace", i->replaces);
        error_hint(err, "`entrepot-central edge list` shows all; without --replace the edge gets a new name");
        return ERR_NOT_FOUND;
    }
    if (strcmp(f.site, i->site) == 0) return 0;
    error_set(err, ERR_INVALID, "the edge %s is of the site %s, not %s", f.name, f.site, i->site);
    error_hint(err, "leave --site out; or, for a machine of %s: `edge invite --site %s`, and `edge remove %s`", i->site,
               i->site, f.name);
    return ERR_INVALID;
}

int roster_invite(struct roster *r, const struct invite *i, const void *secret, size_t len, struct error *err) {
    struct digest hash;
    digest_of(&hash, DIGEST_SHA256, secret, len);
    pthread_mutex_lock(&r->write);
    int code = check_replaced(r, i, err);
    if (code == 0) code = roster_db_invite(r->db, i, &hash, err);
    pthread_mutex_unlock(&r->write);
    return code;
}

/* --- joining --- */

static void hint_new_token(struct error *err, const struct invite_row *i) {
    error_hint(err, "on central: entrepot-central edge invite --site %s%s%s", i->site[0] ? i->site : "NAME",
               i->replaces[0] ? " --replace " : "", i->replaces);
}

static int check_invite(const struct invite_row *i, const char *site, struct error *err) {
    char when[CLOCK_DATE_MAX];
    int64_t now = clock_wall_s();
    int code = 0;
    if (i->used >= i->uses)
        code = error_set(err, ERR_DENIED, "the token was used already: %s joined by it on %s", i->used_by,
                         clock_date(i->used_at, when));
    else if (now > i->expires_at)
        code = error_set(err, ERR_DENIED, "the token has expired on %s", clock_date(i->expires_at, when));
    if (code < 0) hint_new_token(err, i);
    if (code == 0 && site[0] && strcmp(site, i->site) != 0) {
        code = error_set(err, ERR_INVALID, "the token is for the site %s, but this edge's configuration says site: %s",
                         i->site, site);
        error_hint(err, "correct the key site, or make a token for it: entrepot-central edge invite --site %s", site);
    }
    return code;
}

/* Names are SITE-1, SITE-2, …; none is given twice. */
static int choose_name(struct roster *r, const char *site, char out[MEMBER_NAME_MAX], struct error *err) {
    for (unsigned n = 1;; n++) {
        char name[MEMBER_NAME_MAX + 16];
        snprintf(name, sizeof(name), "%s-%u", site, n);
        if (strlen(name) >= MEMBER_NAME_MAX)
            return error_set(err, ERR_INVALID, "the site's name is too long for names of edges");
        if (roster_find(r, name)) continue;
        snprintf(out, MEMBER_NAME_MAX, "%.63s", name);
        return 0;
    }
}

struct key_search {
    const uint8_t *key;
    const struct edge *found;
};

static bool has_key(const void *key, size_t key_len, void *value, void *arg) {
    (void)key;
    (void)key_len;
    struct key_search *s = arg;
    const struct edge *e = value;
    if (memcmp(e->facts.key, s->key, sizeof(e->facts.key)) == 0) s->found = e;
    return !s->found;
}

/* An edge whose answer was lost asks again with the same key. 1: answered. */
static int repeat_join(struct roster *r, const struct invite_row *i, const uint8_t key[MEMBER_KEY_BYTES], X509 **cert,
                       struct edge_facts *out, struct error *err) {
    struct key_search s = {.key = key};
    pthread_mutex_lock(&r->lock);
    map_each(r->edges, has_key, &s);
    if (s.found) *out = s.found->facts;
    pthread_mutex_unlock(&r->lock);
    if (!s.found || out->state == EDGE_REMOVED) return 0;
    struct edge_papers p;
    int code = roster_db_papers(r->db, out->name, &p, err);
    if (code == 0 && p.invite == i->id && p.cert_len > 0)
        code = cert_from_der(cert, p.cert, p.cert_len, err) < 0 ? err->code : 1;
    free(p.cert);
    return code;
}

static X509 *sign(struct roster *r, const struct edge_facts *f, EVP_PKEY *key) {
    struct member m = {.role = MEMBER_EDGE,
                       .generation = f->generation,
                       .not_before = clock_wall_s() - CERT_EARLY_S,
                       .not_after = f->not_after};
    snprintf(m.fleet, sizeof(m.fleet), "%s", r->cfg.fleet);
    memcpy(m.site, f->site, sizeof(m.site));
    memcpy(m.name, f->name, sizeof(m.name));
    X509 *cert = r->cfg.sign(&m, key, r->cfg.arg);
    return cert;
}

/* In one transaction, so that no use is counted without an edge, and no edge made without a use. invite: -1 for a
 * renewal. */
static int write_edge(struct roster *r, const struct edge_facts *f, int64_t invite, const uint8_t *renewal,
                      const X509 *cert, struct error *err) {
    struct edge_papers p = {.invite = invite};
    if (renewal) memcpy(p.renewal, renewal, sizeof(p.renewal));
    cert_to_der(cert, &p.cert, &p.cert_len);
    int code = roster_db_exec(r->db, "BEGIN IMMEDIATE", err);
    if (code == 0) {
        code = roster_db_put(r->db, f, &p, err);
        if (code == 0 && invite >= 0) code = roster_db_use_invite(r->db, invite, f->name, clock_wall_s(), err);
        if (code == 0) code = roster_db_exec(r->db, "COMMIT", err);
        if (code < 0) sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    }
    free(p.cert);
    return code;
}

/* Takes over into memory what was written to the file. */
static void adopt(struct roster *r, const struct edge_facts *f) {
    pthread_mutex_lock(&r->lock);
    struct edge *e = map_get_s(r->edges, f->name);
    if (!e) e = roster_add(r, f);
    e->facts = *f;
    e->seen_from = (struct ip){0};
    r->changes++;
    e->confirmed = false;
    e->instance = 0;
    e->n_instances = e->returns = 0;
    pthread_mutex_unlock(&r->lock);
}

static int make_edge(struct roster *r, const struct invite_row *i, EVP_PKEY *key, X509 **cert, struct edge_facts *out,
                     struct error *err) {
    struct edge_facts old = {0}, f = {.state = EDGE_ACTIVE, .joined_at = clock_wall_s(), .generation = 1};
    int code = 0;
    if (i->replaces[0] && roster_get(r, i->replaces, &old)) f.generation = old.generation + 1;
    if (i->replaces[0])
        memcpy(f.name, i->replaces, sizeof(f.name));
    else
        code = choose_name(r, i->site, f.name, err);
    if (code < 0) return code;
    memcpy(f.site, i->site, sizeof(f.site));
    member_key(key, f.key);
    f.not_after = f.joined_at + r->cfg.lifetime_s;
    *cert = sign(r, &f, key);
    f.issued = r->cfg.signer ? r->cfg.signer(*cert, r->cfg.arg) : 0;
    code = write_edge(r, &f, i->id, NULL, *cert, err);
    if (code < 0) {
        X509_free(*cert);
        *cert = NULL;
        return code;
    }
    adopt(r, &f);
    *out = f;
    log_info("edge_joined", KV_S("edge", f.name), KV_S("site", f.site), KV_I("replaces", old.generation > 0));
    return 0;
}

int roster_join(struct roster *r, const struct join_ask *j, X509 **cert, struct edge_facts *out, struct error *err) {
    struct digest hash;
    struct invite_row i;
    uint8_t key[MEMBER_KEY_BYTES];
    digest_of(&hash, DIGEST_SHA256, j->secret, j->secret_len);
    member_key(j->key, key);
    pthread_mutex_lock(&r->write);
    int code = roster_db_find_invite(r->db, &hash, &i, err);
    if (code == ERR_NOT_FOUND) {
        code = error_set(err, ERR_DENIED,
                         "this central knows no such token: it is forged, or was made before central's records were "
                         "restored");
        hint_new_token(err, &i);
    }
    if (code == 0) code = repeat_join(r, &i, key, cert, out, err);
    if (code == 0) {
        code = check_invite(&i, j->site, err);
        if (code == 0) code = make_edge(r, &i, j->key, cert, out, err);
    }
    pthread_mutex_unlock(&r->write);
    return code > 0 ? 0 : code;
}

/* --- renewing --- */

static int renew_again(const struct edge_papers *p, X509 **cert, struct error *err) {
    return cert_from_der(cert, p->cert, p->cert_len, err);
}

static int renew_anew(struct roster *r, struct edge_facts f, const uint8_t *id, EVP_PKEY *key, X509 **cert,
                      struct error *err) {
    int64_t late_s = clock_wall_s() - f.not_after;
    f.generation++;
    f.not_after = clock_wall_s() + r->cfg.lifetime_s;
    *cert = sign(r, &f, key);
    f.issued = r->cfg.signer ? r->cfg.signer(*cert, r->cfg.arg) : 0;
    int code = write_edge(r, &f, -1, id, *cert, err);
    if (code < 0) {
        X509_free(*cert);
        *cert = NULL;
        return code;
    }
    pthread_mutex_lock(&r->lock);
    struct edge *e = map_get_s(r->edges, f.name);
    e->facts.generation = f.generation;
    e->facts.not_after = f.not_after;
    e->facts.issued = f.issued;
    e->confirmed = false;
    pthread_mutex_unlock(&r->lock);
    if (late_s > 0)
        log_warn("edge_renewed_late", KV_S("edge", f.name), KV_I("days", (long long)(late_s / 86400)),
                 KV_S("why", "its certificate had ended, and fleet.rejoin_window has not"));
    log_info("edge_renewed", KV_S("edge", f.name), KV_I("generation", (long long)f.generation));
    return 0;
}

int roster_renew(struct roster *r, struct edge *e, uint64_t generation, const uint8_t id[WIRE_RENEWAL_BYTES],
                 EVP_PKEY *key, X509 **cert, struct error *err) {
    struct edge_papers p = {0};
    pthread_mutex_lock(&r->write);
    pthread_mutex_lock(&r->lock);
    struct edge_facts f = e->facts;
    pthread_mutex_unlock(&r->lock);
    int code = f.state == EDGE_ACTIVE
                   ? roster_db_papers(r->db, f.name, &p, err)
                   : error_set(err, ERR_DENIED, "the edge %s is %s", f.name, edge_state_word(f.state));
    bool same = code == 0 && p.cert_len > 0 && memcmp(p.renewal, id, sizeof(p.renewal)) == 0;
    if (same) {
        code = renew_again(&p, cert, err);
    } else if (code == 0 && generation == f.generation) {
        code = renew_anew(r, f, id, key, cert, err);
    } else if (code == 0) {
        pthread_mutex_lock(&r->lock);
        roster_quarantine(e, "an old certificate of it was to be renewed a second time: a copy of its data folder");
        pthread_mutex_unlock(&r->lock);
        code = error_set(err, ERR_DENIED, "the edge %s is in quarantine: a newer certificate of it exists", f.name);
    }
    free(p.cert);
    pthread_mutex_unlock(&r->write);
    return code;
}
