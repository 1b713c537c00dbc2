/* Shared by the files of the fleet's authority: ca.c (opening, signing), ca_files.c (its folder), ca_rotation.c (a new
 * root) and ca_standby.c (the standby root's key). Thread: as in ca.h. */
#ifndef ENTREPOT_FLEET_CA_PRIVATE_H
#define ENTREPOT_FLEET_CA_PRIVATE_H

#include <pthread.h>

#include "central/fleet/ca.h"
#include "common/core/error.h"

#define CA_DAY_S 86400LL
#define CA_ROOT_S (20 * 365 * CA_DAY_S)
#define CA_SIGNER_S (10 * 365 * CA_DAY_S)
#define CA_PEM_MAX ((size_t)(64 * KiB))

enum { KEPT_SIGNER, KEPT_OLD_SIGNER, KEPT_SIGNERS };

struct ca {
    char dir[4096];
    char key_file[4200];
    char fleet[FLEET_ID_MAX];
    int64_t retired_until;
    pthread_rwlock_t lock; /* guards what follows; held only while pointers are copied */
    X509 *roots[CA_ROOTS];
    X509 *signers[KEPT_SIGNERS];
    X509 *cross; /* the root, signed by the one before it; NULL: none */
    EVP_PKEY *signer_key;
    /* What has been replaced is kept, because others may still use it. */
    STACK_OF(X509) * gone;
    EVP_PKEY *gone_key[8];
    unsigned n_gone_keys;
};

/* --- ca.c --- */

/* key_file as in ca_open. Reads nothing. The caller calls ca_close. */
struct ca *ca_new(const char *data, const char *key_file);

/* --- ca_files.c; nothing here takes the lock --- */

struct ca_path {
    char text[4300];
};
/* A file of the folder. */
struct ca_path ca_path(const struct ca *ca, const char *file);
struct ca_path ca_root_path(const struct ca *ca, enum ca_root which);
/* Where the key of a root is; the next root's lies beside the present one's until it takes its place. */
struct ca_path ca_key_path(const struct ca *ca, enum ca_root which);
bool ca_path_exists(const char *path);

/* Reads the first certificate of a file, and its key; either may be NULL. The caller frees both. ERR_CORRUPT: the file
 * lacks one of them. */
int ca_read_pem(const char *path, X509 **cert, EVP_PKEY **key, struct error *err) must_check;
/* Whether a certificate is an authority of this fleet; the first one that is checked says which fleet that is. path:
 * named in the error. */
int ca_check_fleet(struct ca *ca, const X509 *cert, const char *path, struct error *err) must_check;
int ca_read_roots(struct ca *ca, struct error *err) must_check;
/* Reads cross.pem. 0 also if there is none. */
int ca_read_cross(struct ca *ca, struct error *err) must_check;
int ca_read_signer(struct ca *ca, const char *path, struct error *err) must_check;

/* Writes a key, a certificate or both (NULL: not) into a file, synced. */
int ca_write_pem(const char *path, EVP_PKEY *key, X509 *cert, struct error *err) must_check;
/* What was renamed or created in the folder of this file is there after a power cut, too. */
int ca_sync_folder_of(const char *path, struct error *err) must_check;
/* A certificate of a root (issuer NULL, or the root before it) or of a signer below one; what: "signer" for that. The
 * caller frees it. */
X509 *ca_make_authority(const struct ca *ca, const char *what, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                        int64_t lifetime_s);
int ca_make_root(struct ca *ca, enum ca_root which, struct error *err) must_check;
/* Needs the root's key. path: where the signer is written. */
int ca_make_signer(struct ca *ca, const char *path, struct error *err) must_check;
/* Removes a file of the folder. 0 also if there is none. */
int ca_forget(const struct ca *ca, const char *file, struct error *err) must_check;

/* --- ca_rotation.c --- */

/* Finishes a switch that a crash has interrupted. */
int ca_finish_switch(struct ca *ca, struct error *err) must_check;

#endif
