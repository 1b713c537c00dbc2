/* The edges of the fleet and the invites by which they join, in DATA/fleet.db and in memory. An edge is
 *
 *   active ── two processes use its identity, or an old certificate of it comes back ──▶ quarantined
 *   quarantined ── `edge allow` ──▶ active      active, quarantined ── `edge remove` ──▶ removed
 *
 * and never leaves the list, so that its name is not given to another. Only the key that joined last counts; `join` by
 * an invite that names the edge makes a new one. Thread: any; what writes to the disk must not run on a loop. */
#ifndef ENTREPOT_FLEET_ROSTER_H
#define ENTREPOT_FLEET_ROSTER_H

#include "common/core/digest.h"
#include "common/core/network.h"
#include "common/core/workpool.h"
#include "common/identity/member.h"
#include "common/wire/fleet_message.h"

struct roster;
struct edge; /* valid until roster_close */

enum edge_state { EDGE_ACTIVE, EDGE_QUARANTINED, EDGE_REMOVED };
#define EDGE_REASON_MAX 200
#define EDGE_VERSION_MAX 48

struct edge_facts {
    char name[MEMBER_NAME_MAX], site[MEMBER_NAME_MAX];
    enum edge_state state;
    char reason[EDGE_REASON_MAX]; /* of a quarantine */
    uint64_t generation;          /* of its newest certificate */
    uint8_t key[MEMBER_KEY_BYTES];
    int64_t joined_at, not_after; /* seconds since the epoch */
    int64_t seen_at;              /* last request; 0: none yet */
    char address[IP_TEXT_MAX];    /* that it came from */
    char version[EDGE_VERSION_MAX];
    uint64_t roots;         /* of the roots that it trusts, as it said last (roots_mark); 0: it has not said */
    uint64_t issued, shown; /* the signer of its newest certificate, and of the newest it has shown; 0: not known */
};

struct roster_config {
    const char *data;
    struct workpool *pool; /* for writing what serving loops have noticed */
    int64_t lifetime_s;    /* of an edge's certificate */
    /* Signs a certificate. The caller frees it. */
    X509 *(*sign)(const struct member *m, EVP_PKEY *key, void *arg);
    /* A number for the signer of a certificate; NULL: none is kept. */
    uint64_t (*signer)(X509 *cert, void *arg);
    /* Signs what is said of an edge that is removed (ca_attest). */
    X509 *(*attest)(const void *data, size_t len, uint8_t **signature, size_t *signature_len, void *arg);
    /* There is another removal. May be NULL. Any thread, no lock is held. */
    void (*removed)(void *arg);
    void *arg;
    const char *fleet;       /* its id; borrowed */
    int64_t rejoin_window_s; /* how long after its end a certificate can still be renewed */
};
int roster_open(struct roster **out, const struct roster_config *cfg, struct error *err) must_check;
void roster_close(struct roster *r);

/* --- invites --- */

#define INVITE_USES_MAX 1000
struct invite {
    const char *site, *replaces; /* replaces: the name of an edge, or "" */
    unsigned uses;
    int64_t expires_at;
};
/* Keeps an invite for this secret. ERR_NOT_FOUND: there is no edge `replaces`. ERR_INVALID: it is of another site. */
int roster_invite(struct roster *r, const struct invite *i, const void *secret, size_t len,
                  struct error *err) must_check;

/* --- certificates --- */

struct join_ask {
    const void *secret;
    size_t secret_len;
    EVP_PKEY *key;
    const char *site; /* that the edge's configuration names; "": none */
};
/* Makes an edge by an invite, or answers again what was answered before to the same key. The caller frees *cert.
 * ERR_DENIED: the secret is not known, used up or expired, and err says which. ERR_INVALID: another site. */
int roster_join(struct roster *r, const struct join_ask *j, X509 **cert, struct edge_facts *out,
                struct error *err) must_check;
/* The next certificate of an edge that has been admitted with one of this generation, or the same again for the same
 * id. key: its public key. */
int roster_renew(struct roster *r, struct edge *e, uint64_t generation, const uint8_t id[WIRE_RENEWAL_BYTES],
                 EVP_PKEY *key, X509 **cert, struct error *err) must_check;

/* --- edges --- */

/* NULL: there is none. */
struct edge *roster_find(struct roster *r, const char *name);
/* One that the authority has certified and the roster does not know, as after an older backup was restored: it is in
 * quarantine from now on. */
struct edge *roster_meet(struct roster *r, const struct member *m);
/* What a request shows of its edge. */
struct edge_sight {
    uint64_t generation;
    const uint8_t *key;
    uint64_t instance; /* random number of the process; 0: not said */
    const struct ip *address;
    const char *version;
    uint64_t roots; /* that it trusts; 0: not said */
};
/* Whether the edge's request may be answered. ERR_DENIED: err says why. Notices two processes that use one identity. */
int roster_admit(struct roster *r, struct edge *e, const struct edge_sight *s, struct error *err) must_check;
/* ERR_DENIED if the edge was removed or is in quarantine, and err says so. */
int roster_check_state(struct roster *r, const struct edge *e, struct error *err) must_check;
/* Whether a connection of the edge that was opened with this key may stay. */
bool roster_may_stay(struct roster *r, const struct edge *e, const uint8_t key[MEMBER_KEY_BYTES]);

/* ERR_NOT_FOUND; allow: also ERR_INVALID, if it was removed. */
int roster_remove(struct roster *r, const char *name, struct error *err) must_check;
int roster_allow(struct roster *r, const char *name, struct error *err) must_check;
bool roster_get(struct roster *r, const char *name, struct edge_facts *out);
/* Copies of all, by name. The caller frees *list. */
size_t roster_list(struct roster *r, struct edge_facts **list);

/* --- removals, signed --- */

/* Adds all that may still matter, and the certificates of their signers. May block. */
int roster_removals(struct roster *r, struct wire_fleet_state *into, struct error *err) must_check;
/* Takes a removal over that this central has forgotten, as after an older backup was restored. Its signature has been
 * checked. 1: it is new. */
int roster_take_removal(struct roster *r, const struct wire_removal *removal, X509 *signer,
                        struct error *err) must_check;

/* A number that changes whenever an edge's state or key may have. */
uint64_t roster_changes(const struct roster *r);

const char *edge_state_word(enum edge_state s);

#endif
