/* This edge's identity on disk: DATA/identity/edge.pem (0600) holds its key, its certificate with what leads to the
 * root, and every root of the fleet, in one file, so that they always fit each other. Beside it, while they are needed:
 * joining.pem, the key of a join whose answer has not come, and renewal, the id of such a renewal; fleet.pb, the state
 * of the fleet (fleet_sync.h), central, where it was found last (roam.h), and registry.pem, key and certificate of the
 * registry port (registry_cert.h). Thread: any that may block. */
#ifndef ENTREPOT_EDGE_LINK_IDENTITY_H
#define ENTREPOT_EDGE_LINK_IDENTITY_H

#include "common/identity/cert.h"
#include "common/identity/member.h"
#include "common/wire/join_message.h"

struct identity {
    struct member who;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* its certificate first, without the root */
    STACK_OF(X509) * roots;
};
void identity_fini(struct identity *id);

/* ERR_NOT_FOUND: this edge has not joined. ERR_CORRUPT: the file is damaged. */
int identity_load(struct identity *out, const char *data, struct error *err) must_check;
/* Makes an identity of what central answered for this key, and checks that it is an edge's, for this key, and signed by
 * one of the roots; takes a reference to key. */
int identity_of_answer(struct identity *out, EVP_PKEY *key, const struct wire_join_response *rs,
                       struct error *err) must_check;
/* Replaces what is on disk, synced. */
int identity_save(const struct identity *id, const char *data, struct error *err) must_check;
/* The same, if what is on disk has this key; ERR_CANCELLED: it has another, for the edge has joined anew. */
int identity_save_renewed(const struct identity *id, const char *data, struct error *err) must_check;
/* Trusts these roots (DER) from now on. *out is what is then on disk. ERR_DENIED: they are not this fleet's, or the
 * edge's own certificate leads to none of them; nothing is changed then. */
int identity_save_roots(struct identity *out, const char *data, const struct wire_bytes *roots, size_t n,
                        struct error *err) must_check;
/* Its certificates and its key as PEM texts. The caller frees both. */
void identity_pem(const struct identity *id, char **chain, char **key);
/* Its roots as a PEM text. The caller frees it. */
char *identity_roots_pem(const struct identity *id);

/* The key of a join that was begun, or a new one that is then on disk. The caller frees it. */
int identity_joining_key(EVP_PKEY **out, const char *data, struct error *err) must_check;
/* The join is over. */
void identity_joined(const char *data);
/* The id of a renewal that was begun, or a new one that is then on disk. */
int identity_renewal(uint8_t id[WIRE_RENEWAL_BYTES], const char *data, struct error *err) must_check;
void identity_renewed(const char *data);

/* A key and certificates of another file of DATA/identity. The caller frees both. ERR_NOT_FOUND: there is no such
 * file. */
int identity_read(const char *data, const char *file, EVP_PKEY **key, STACK_OF(X509) * *certs,
                  struct error *err) must_check;
/* Replaces another file of DATA/identity, synced. */
int identity_write(const char *data, const char *file, const void *bytes, size_t len, struct error *err) must_check;

/* root gives the files to the owner of the data folder. */
int identity_give_away(const char *data, struct error *err) must_check;

#endif
