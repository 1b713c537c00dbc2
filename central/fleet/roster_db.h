/* fleet.db: schema and statements. Thread: one at a time; the roster's lock for writing ensures that. */
#ifndef ENTREPOT_FLEET_ROSTER_DB_H
#define ENTREPOT_FLEET_ROSTER_DB_H

#include <sqlite3.h>

#include "central/fleet/roster.h"

/* An invite as it is kept: of its secret only the SHA-256. */
struct invite_row {
    int64_t id;
    char site[MEMBER_NAME_MAX], replaces[MEMBER_NAME_MAX];
    unsigned uses, used;
    int64_t expires_at, used_at;
    char used_by[MEMBER_NAME_MAX]; /* the last edge; "": none */
};

/* What of an edge is not kept in memory. cert is malloc'ed. */
struct edge_papers {
    int64_t invite;
    uint8_t renewal[WIRE_RENEWAL_BYTES]; /* id of the renewal that made its certificate; zero: none did */
    uint8_t *cert;                       /* its newest certificate, DER */
    size_t cert_len;
};

int roster_db_open(sqlite3 **out, const char *path, struct error *err) must_check;
int roster_db_exec(sqlite3 *db, const char *sql, struct error *err) must_check;
int roster_db_load(sqlite3 *db, void (*fn)(const struct edge_facts *f, void *arg), void *arg,
                   struct error *err) must_check;
/* Writes an edge. papers NULL: the ones in its row stay. */
int roster_db_put(sqlite3 *db, const struct edge_facts *f, const struct edge_papers *papers,
                  struct error *err) must_check;
int roster_db_papers(sqlite3 *db, const char *name, struct edge_papers *out, struct error *err) must_check;
/* Keeps a removal; there may be one already. */
int roster_db_put_removal(sqlite3 *db, const struct wire_removal_body *b, const struct wire_removal *removal,
                          const struct wire_bytes *signer, struct error *err) must_check;
/* Whether there is one for this key. */
bool roster_db_has_removal(sqlite3 *db, const struct wire_removal_body *b);
/* Calls fn for each removal that ends after now; what fn gets is borrowed. */
int roster_db_removals(sqlite3 *db, int64_t now,
                       void (*fn)(const struct wire_removal *removal, const struct wire_bytes *signer, void *arg),
                       void *arg, struct error *err) must_check;
int roster_db_invite(sqlite3 *db, const struct invite *i, const struct digest *secret, struct error *err) must_check;
/* ERR_NOT_FOUND: there is none with this secret. */
int roster_db_find_invite(sqlite3 *db, const struct digest *secret, struct invite_row *out,
                          struct error *err) must_check;
int roster_db_use_invite(sqlite3 *db, int64_t id, const char *edge, int64_t now, struct error *err) must_check;

#endif
