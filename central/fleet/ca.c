/* Thread: as the header says. */
#include "central/fleet/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/http/tls.h"
#include "common/identity/attest.h"
#include "common/identity/cert.h"

#define DAY_S 86400LL
#define ROOT_S (20 * 365 * DAY_S)
#define SIGNER_S (10 * 365 * DAY_S)
#define PEM_MAX ((size_t)(64 * KiB))

enum { KEPT_SIGNER, KEPT_OLD_SIGNER, KEPT_SIGNERS };

struct ca {
    char dir[4096];
    char key_file[4200];
    char fleet[FLEET_ID_MAX];
    int64_t retired_until;
    pthread_rwlock_t lock; /* guards what follows; held only while pointers are copied */
    X509 *roots[CA_ROOTS];
    X509 *signers[KEPT_SIGNERS];
    EVP_PKEY *signer_key;
    /* What has been replaced is kept, because others may still use it. */
    STACK_OF(X509) * gone;
    EVP_PKEY *gone_key[8];
    unsigned n_gone_keys;
};

static const char *const root_words[CA_ROOTS] = {"root", "standby", "next", "retired"};

/* A file of the folder. */
struct path {
    char text[4300];
};
static struct path in_dir(const struct ca *ca, const char *file) {
    struct path p;
    snprintf(p.text, sizeof(p.text), "%s/%s", ca->dir, file);
    return p;
}

static struct path root_path(const struct ca *ca, enum ca_root which) {
    char name[32];
    snprintf(name, sizeof(name), "%s.pem", root_words[which]);
    return in_dir(ca, name);
}

/* Where the key of a root is; the next root's lies beside the present one's until it takes its place. */
static struct path key_path(const struct ca *ca, enum ca_root which) {
    struct path p = in_dir(ca, "standby.key.pem");
    if (which != CA_STANDBY) snprintf(p.text, sizeof(p.text), "%s%s", ca->key_file, which == CA_NEXT ? ".next" : "");
    return p;
}

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* --- reading --- */

/* The first certificate of a file, and its key if there is one. */
static int read_pem(const char *path, X509 **cert, EVP_PKEY **key, struct error *err) {
    char *text;
    size_t len;
    EVP_PKEY *found_key = NULL;
    STACK_OF(X509) *certs = NULL;
    int r = file_read_all(path, PEM_MAX, &text, &len, err);
    if (r < 0) return r;
    r = pem_read(text, len, &found_key, &certs, err);
    OPENSSL_cleanse(text, len);
    free(text);
    if (r < 0) return error_wrap(err, "%s", path);
    if (cert) *cert = sk_X509_shift(certs);
    if (key)
        *key = found_key;
    else
        EVP_PKEY_free(found_key);
    sk_X509_pop_free(certs, X509_free);
    if ((cert && !*cert) || (key && !*key)) return error_set(err, ERR_CORRUPT, "%s lacks its certificate or key", path);
    return 0;
}

/* It is an authority of this fleet; the first one says which fleet that is. */
static int check_fleet(struct ca *ca, const X509 *cert, const char *path, struct error *err) {
    struct member m;
    int r = member_of(&m, cert, err);
    if (r == 0 && m.role != MEMBER_AUTHORITY) r = error_set(err, ERR_INVALID, "it is not an authority's certificate");
    if (r == 0 && ca->fleet[0] && strcmp(ca->fleet, m.fleet) != 0)
        r = error_set(err, ERR_INVALID, "it is of another fleet than root.pem");
    if (r < 0) return error_wrap(err, "%s", path);
    memcpy(ca->fleet, m.fleet, sizeof(ca->fleet));
    return 0;
}

static int read_root(struct ca *ca, enum ca_root which, struct error *err) {
    struct path path = root_path(ca, which);
    if ((which == CA_NEXT || which == CA_RETIRED) && !exists(path.text)) return 0;
    int r = read_pem(path.text, &ca->roots[which], NULL, err);
    return r < 0 ? r : check_fleet(ca, ca->roots[which], path.text, err);
}

static int read_roots(struct ca *ca, struct error *err) {
    int r = 0;
    for (unsigned i = 0; i < CA_ROOTS && r == 0; i++)
        r = read_root(ca, (enum ca_root)i, err);
    return r;
}

static int read_signer(struct ca *ca, const char *path, struct error *err) {
    int r = read_pem(path, &ca->signers[KEPT_SIGNER], &ca->signer_key, err);
    if (r == 0) r = check_fleet(ca, ca->signers[KEPT_SIGNER], path, err);
    if (r == 0 && X509_check_private_key(ca->signers[KEPT_SIGNER], ca->signer_key) != 1)
        r = error_set(err, ERR_CORRUPT, "%s: the key does not belong to the certificate", path);
    return r;
}

static void read_until(struct ca *ca) {
    char *text;
    size_t len;
    struct error ignored = {0};
    if (file_read_all(in_dir(ca, "retired.until").text, 64, &text, &len, &ignored) < 0) return;
    ca->retired_until = strtoll(text, NULL, 10);
    free(text);
}

/* --- making --- */

/* What was renamed into it is there after a power cut, too. */
static int sync_folder_of(const char *path, struct error *err) {
    char dir[4300];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = '\0';
    _cleanup_(closep) int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : error_errno(err, "syncing the folder of %s", path);
}

static int write_pem(const char *path, EVP_PKEY *key, X509 *cert, struct error *err) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    if (key) pem_add_key(&b, key);
    if (cert) pem_add_cert(&b, cert);
    int r = file_write_atomic(path, key ? 0600 : 0644, b.data, b.len, err);
    if (r == 0) r = sync_folder_of(path, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

static X509 *make_authority(const struct ca *ca, const char *what, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                            int64_t lifetime_s) {
    char uri[MEMBER_URI_MAX], name[64];
    struct member m = {.role = MEMBER_AUTHORITY};
    memcpy(m.fleet, ca->fleet, sizeof(m.fleet));
    snprintf(name, sizeof(name), "Entrepot fleet %s %.8s", what, ca->fleet);
    int64_t now = clock_wall_s();
    const struct cert_order o = {.common_name = name,
                                 .uri = member_uri(&m, uri),
                                 .key = key,
                                 .issuer = issuer,
                                 .issuer_key = issuer_key,
                                 .is_authority = true,
                                 .below = issuer ? 0 : 1,
                                 .not_before = now - CERT_EARLY_S,
                                 .not_after = now + lifetime_s};
    return cert_make(&o);
}

/* The certificate comes last: a root without one is made anew. */
static int make_root(struct ca *ca, enum ca_root which, struct error *err) {
    EVP_PKEY *key = key_make();
    ca->roots[which] = make_authority(ca, root_words[which], key, NULL, NULL, ROOT_S);
    int r = write_pem(key_path(ca, which).text, key, NULL, err);
    if (r == 0) r = write_pem(root_path(ca, which).text, NULL, ca->roots[which], err);
    EVP_PKEY_free(key);
    return r;
}

static int make_signer(struct ca *ca, const char *path, struct error *err) {
    EVP_PKEY *root_key = NULL;
    int r = read_pem(key_path(ca, CA_ROOT).text, NULL, &root_key, err);
    if (r < 0) {
        error_hint(err, "put signer.pem back, or the root's key where fleet.ca_key_file says");
        return error_wrap(err, "making the fleet's signer");
    }
    ca->signer_key = key_make();
    ca->signers[KEPT_SIGNER] = make_authority(ca, "signer", ca->signer_key, ca->roots[CA_ROOT], root_key, SIGNER_S);
    EVP_PKEY_free(root_key);
    return write_pem(path, ca->signer_key, ca->signers[KEPT_SIGNER], err);
}

/* Removes the certificate of a version that made a fleet without an authority. */
static void remove_old(const struct ca *ca) {
    static const char *const files[] = {"cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct path p = in_dir(ca, files[i]);
        if (unlink(p.text) < 0 && errno != ENOENT) log_warn("file_not_removed", KV_S("path", p.text));
    }
}

static int make_roots(struct ca *ca, struct error *err) {
    fleet_id_make(ca->fleet);
    remove_old(ca);
    int r = make_root(ca, CA_STANDBY, err);
    if (r == 0) r = make_root(ca, CA_ROOT, err);
    if (r == 0) log_info("fleet_made", KV_S("fleet", ca->fleet), KV_S("folder", ca->dir));
    return r;
}

/* --- a new root takes the root's place --- */

static int forget(const struct ca *ca, const char *file, struct error *err) {
    struct path p = in_dir(ca, file);
    return unlink(p.text) == 0 || errno == ENOENT ? 0 : error_errno(err, "removing %s", p.text);
}

/* Each step can be repeated, so a start finishes what a crash has interrupted. The old root's key is replaced, because
 * nothing more is signed with it. */
static int move_into_place(struct ca *ca, struct error *err) {
    struct path next = key_path(ca, CA_NEXT), key = key_path(ca, CA_ROOT), from = in_dir(ca, "next-signer.pem");
    X509 *root = NULL, *signer = NULL;
    EVP_PKEY *signer_key = NULL;
    int r = read_pem(root_path(ca, CA_NEXT).text, &root, NULL, err);
    if (r == 0) r = read_pem(from.text, &signer, &signer_key, err);
    if (r == 0) r = write_pem(in_dir(ca, "signer.pem").text, signer_key, signer, err);
    if (r == 0) r = write_pem(root_path(ca, CA_ROOT).text, NULL, root, err);
    if (r == 0 && exists(next.text) && rename(next.text, key.text) < 0) r = error_errno(err, "renaming %s", next.text);
    if (r == 0) r = forget(ca, "next.pem", err);
    if (r == 0) r = forget(ca, "next-signer.pem", err);
    X509_free(root);
    X509_free(signer);
    EVP_PKEY_free(signer_key);
    return r;
}

/* Finishes a switch that a crash has interrupted. */
static int finish_switch(struct ca *ca, struct error *err) {
    bool cut = exists(root_path(ca, CA_NEXT).text) && exists(root_path(ca, CA_RETIRED).text);
    return cut ? move_into_place(ca, err) : 0;
}

static void hand_over(struct ca *ca, X509 **place, X509 *now) {
    if (*place && sk_X509_push(ca->gone, *place) <= 0) out_of_memory();
    *place = now;
}

int ca_begin_rotation(struct ca *ca, struct error *err) {
    EVP_PKEY *key = key_make(), *signer_key = key_make();
    X509 *signer = NULL, *root = NULL;
    int r = ca_state(ca) == CA_STEADY ? 0 : error_set(err, ERR_BUSY, "a change of the root is under way already");
    if (r == 0) {
        root = make_authority(ca, "root", key, NULL, NULL, ROOT_S);
        signer = make_authority(ca, "signer", signer_key, root, key, SIGNER_S);
        r = write_pem(key_path(ca, CA_NEXT).text, key, NULL, err);
        if (r < 0) {
            error_wrap(err, "the new root's key");
            error_hint(err, "make the folder of %s writable (mount it), and say `ca rotate` again", ca->key_file);
        }
    }
    if (r == 0) r = write_pem(in_dir(ca, "next-signer.pem").text, signer_key, signer, err);
    if (r == 0) r = write_pem(root_path(ca, CA_NEXT).text, NULL, root, err);
    if (r == 0) {
        pthread_rwlock_wrlock(&ca->lock);
        hand_over(ca, &ca->roots[CA_NEXT], root);
        root = NULL;
        pthread_rwlock_unlock(&ca->lock);
    }
    X509_free(root);
    X509_free(signer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(signer_key);
    return r;
}

/* From now on what is on the disk is used. */
static int take_over(struct ca *ca, struct error *err) {
    struct ca now = {.gone = ca->gone};
    memcpy(now.dir, ca->dir, sizeof(now.dir));
    memcpy(now.fleet, ca->fleet, sizeof(now.fleet));
    int r = read_roots(&now, err);
    if (r == 0) r = read_signer(&now, in_dir(ca, "signer.pem").text, err);
    if (r < 0) return r;
    pthread_rwlock_wrlock(&ca->lock);
    for (unsigned i = 0; i < CA_ROOTS; i++)
        hand_over(ca, &ca->roots[i], now.roots[i]);
    hand_over(ca, &ca->signers[KEPT_OLD_SIGNER], ca->signers[KEPT_SIGNER]);
    ca->signers[KEPT_SIGNER] = now.signers[KEPT_SIGNER];
    if (ca->n_gone_keys < ARRAY_LEN(ca->gone_key)) ca->gone_key[ca->n_gone_keys++] = ca->signer_key;
    ca->signer_key = now.signer_key;
    pthread_rwlock_unlock(&ca->lock);
    return 0;
}

int ca_switch(struct ca *ca, struct error *err) {
    if (ca_state(ca) != CA_SPREADING) return error_set(err, ERR_INVALID, "there is no new root to switch to");
    int r = write_pem(in_dir(ca, "retired-signer.pem").text, NULL, ca_signer(ca), err);
    if (r == 0) r = write_pem(root_path(ca, CA_RETIRED).text, NULL, ca_root(ca, CA_ROOT), err);
    if (r == 0) r = move_into_place(ca, err);
    return r < 0 ? r : take_over(ca, err);
}

int ca_end_rotation(struct ca *ca, struct error *err) {
    if (ca_state(ca) != CA_RETIRING) return error_set(err, ERR_INVALID, "no root is about to leave");
    int r = forget(ca, "retired.pem", err);
    if (r == 0) r = forget(ca, "retired-signer.pem", err);
    if (r == 0) r = forget(ca, "retired.until", err);
    if (r < 0) return r;
    pthread_rwlock_wrlock(&ca->lock);
    hand_over(ca, &ca->roots[CA_RETIRED], NULL);
    hand_over(ca, &ca->signers[KEPT_OLD_SIGNER], NULL);
    ca->retired_until = 0;
    pthread_rwlock_unlock(&ca->lock);
    return 0;
}

/* --- opening --- */

static struct ca *ca_new(const char *data, const char *key_file) {
    struct ca *ca = xcalloc(1, sizeof(*ca));
    pthread_rwlock_init(&ca->lock, NULL);
    ca->gone = sk_X509_new_null();
    if (!ca->gone) out_of_memory();
    snprintf(ca->dir, sizeof(ca->dir), "%.4000s/identity", data);
    snprintf(ca->key_file, sizeof(ca->key_file), "%.4090s%s", key_file ? key_file : ca->dir,
             key_file ? "" : "/root.key.pem");
    return ca;
}

int ca_open(struct ca **out, const char *data, const char *key_file, struct error *err) {
    struct ca *ca = ca_new(data, key_file);
    struct path root = root_path(ca, CA_ROOT), signer = in_dir(ca, "signer.pem"),
                old = in_dir(ca, "retired-signer.pem");
    int r = dir_make_all(ca->dir, 0700, err);
    if (r == 0) r = finish_switch(ca, err);
    if (r == 0) r = exists(root.text) || exists(signer.text) ? read_roots(ca, err) : make_roots(ca, err);
    if (r == 0) r = exists(signer.text) ? read_signer(ca, signer.text, err) : make_signer(ca, signer.text, err);
    if (r == 0 && exists(old.text)) r = read_pem(old.text, &ca->signers[KEPT_OLD_SIGNER], NULL, err);
    read_until(ca);
    if (r < 0) {
        ca_close(ca);
        return error_wrap(err, "the fleet's authority");
    }
    *out = ca;
    return 0;
}

void ca_close(struct ca *ca) {
    if (!ca) return;
    for (unsigned i = 0; i < CA_ROOTS; i++)
        X509_free(ca->roots[i]);
    for (unsigned i = 0; i < KEPT_SIGNERS; i++)
        X509_free(ca->signers[i]);
    EVP_PKEY_free(ca->signer_key);
    sk_X509_pop_free(ca->gone, X509_free);
    for (unsigned i = 0; i < ca->n_gone_keys; i++)
        EVP_PKEY_free(ca->gone_key[i]);
    pthread_rwlock_destroy(&ca->lock);
    free(ca);
}

/* --- using --- */

static void lock_for_reading(const struct ca *ca) {
    pthread_rwlock_rdlock(&((struct ca *)(uintptr_t)ca)->lock);
}

static void unlock(const struct ca *ca) {
    pthread_rwlock_unlock(&((struct ca *)(uintptr_t)ca)->lock);
}

const char *ca_fleet(const struct ca *ca) {
    return ca->fleet;
}

const char *ca_key_file(const struct ca *ca) {
    return ca->key_file;
}

const char *ca_root_word(enum ca_root which) {
    return root_words[which];
}

X509 *ca_root(const struct ca *ca, enum ca_root which) {
    lock_for_reading(ca);
    X509 *root = ca->roots[which];
    unlock(ca);
    return root;
}

enum ca_state ca_state(const struct ca *ca) {
    return ca_root(ca, CA_NEXT) ? CA_SPREADING : ca_root(ca, CA_RETIRED) ? CA_RETIRING : CA_STEADY;
}

STACK_OF(X509) * ca_trusted(const struct ca *ca) {
    STACK_OF(X509) *all = sk_X509_new_null();
    if (!all) out_of_memory();
    lock_for_reading(ca);
    for (unsigned i = 0; i < CA_ROOTS; i++)
        if (ca->roots[i] && sk_X509_push(all, ca->roots[i]) <= 0) out_of_memory();
    unlock(ca);
    return all;
}

static X509 *signer_and_key(const struct ca *ca, EVP_PKEY **key) {
    lock_for_reading(ca);
    X509 *signer = ca->signers[KEPT_SIGNER];
    *key = ca->signer_key;
    unlock(ca);
    return signer;
}

X509 *ca_signer(const struct ca *ca) {
    EVP_PKEY *key;
    return signer_and_key(ca, &key);
}

X509 *ca_signer_of(const struct ca *ca, X509 *cert) {
    X509 *candidates[KEPT_SIGNERS], *found = NULL;
    lock_for_reading(ca);
    memcpy(candidates, ca->signers, sizeof(candidates));
    unlock(ca);
    for (unsigned i = 0; i < KEPT_SIGNERS && !found; i++)
        if (candidates[i] && X509_verify(cert, X509_get0_pubkey(candidates[i])) == 1) found = candidates[i];
    ERR_clear_error();
    return found;
}

int64_t ca_retired_until(const struct ca *ca) {
    lock_for_reading(ca);
    int64_t until = ca->retired_until;
    unlock(ca);
    return until;
}

bool ca_has_key(const struct ca *ca, enum ca_root which) {
    return exists(key_path(ca, which).text);
}

static X509 *sign(const struct ca *ca, const struct member *m, const char *name, EVP_PKEY *key, X509 **signer) {
    char uri[MEMBER_URI_MAX];
    EVP_PKEY *signer_key;
    *signer = signer_and_key(ca, &signer_key);
    const struct cert_order o = {.common_name = name,
                                 .uri = member_uri(m, uri),
                                 .key = key,
                                 .issuer = *signer,
                                 .issuer_key = signer_key,
                                 .not_before = m->not_before,
                                 .not_after = m->not_after};
    return cert_make(&o);
}

X509 *ca_issue(const struct ca *ca, const struct member *m, EVP_PKEY *key) {
    X509 *signer;
    return sign(ca, m, m->name, key, &signer);
}

X509 *ca_attest(const struct ca *ca, const void *data, size_t len, uint8_t **out, size_t *out_len) {
    EVP_PKEY *key;
    X509 *signer = signer_and_key(ca, &key);
    attest_sign(key, data, len, out, out_len);
    return signer;
}

/* Lets every certificate through the handshake, so that the port can answer in words why it refuses one. Dates are
 * checked by the gate. */
static int on_verify(X509_STORE_CTX *ctx, void *arg) {
    (void)arg;
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    if (X509_verify_cert(ctx) != 1 && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    return 1;
}

SSL_CTX *ca_context(const struct ca *ca, int64_t lifetime_s) {
    SSL_CTX *ctx = tls_context_new();
    struct member m = {.role = MEMBER_CENTRAL};
    memcpy(m.fleet, ca->fleet, sizeof(m.fleet));
    m.not_before = clock_wall_s() - CERT_EARLY_S;
    m.not_after = clock_wall_s() + lifetime_s;
    EVP_PKEY *key = key_make();
    X509 *signer, *cert = sign(ca, &m, "central", key, &signer);
    STACK_OF(X509) *roots = ca_trusted(ca);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    bool good = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_use_certificate(ctx, cert) == 1 &&
                SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_add1_chain_cert(ctx, signer) == 1;
    for (int i = 0; i < sk_X509_num(roots); i++) { /* sent as well: an edge that joins knows their hashes only */
        X509 *root = sk_X509_value(roots, i);
        good = good && SSL_CTX_add1_chain_cert(ctx, root) == 1 && X509_STORE_add_cert(store, root) == 1;
    }
    good = good && X509_STORE_add_cert(store, signer) == 1;
    sk_X509_free(roots);
    if (!good) out_of_memory();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    /* A resumed session would stand for the certificate of an earlier connection. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

/* --- the standby root --- */

static int write_new_file(const char *file, const struct buf *b, struct error *err) {
    _cleanup_(closep) int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return error_errno(err, "creating %s", file);
    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return error_errno(err, "writing %s", file);
        done += (size_t)n;
    }
    if (fsync(fd) < 0) return error_errno(err, "syncing %s", file);
    return sync_folder_of(file, err);
}

/* What was written can be read, and is this key. */
static int check_export(const char *file, EVP_PKEY *key, struct error *err) {
    X509 *cert = NULL;
    EVP_PKEY *read = NULL;
    int r = read_pem(file, &cert, &read, err);
    if (r == 0 && (EVP_PKEY_eq(read, key) != 1 || X509_check_private_key(cert, read) != 1))
        r = error_set(err, ERR_CORRUPT, "%s was not written as it should be", file);
    X509_free(cert);
    EVP_PKEY_free(read);
    return r;
}

static int export_to(const char *file, struct ca *ca, EVP_PKEY *key, struct error *err) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    pem_add_key(&b, key);
    pem_add_cert(&b, ca->roots[CA_STANDBY]);
    for (unsigned i = 0; i < CA_ROOTS; i++)
        if (i != CA_STANDBY && ca->roots[i]) pem_add_cert(&b, ca->roots[i]);
    int r = write_new_file(file, &b, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r < 0 ? r : check_export(file, key, err);
}

int ca_export_standby(const char *data, const char *file, struct error *err) {
    struct ca *ca = ca_new(data, NULL);
    struct path path = key_path(ca, CA_STANDBY);
    EVP_PKEY *key = NULL;
    int r = read_roots(ca, err);
    if (r == 0 && !exists(path.text)) {
        r = error_set(err, ERR_NOT_FOUND, "the standby root's key is not in %s", ca->dir);
        error_hint(err, "it was exported before: it is where that file was put");
    }
    if (r == 0) r = read_pem(path.text, NULL, &key, err);
    if (r == 0) r = export_to(file, ca, key, err);
    if (r == 0) r = forget(ca, "standby.key.pem", err);
    if (r == 0) r = sync_folder_of(path.text, err);
    EVP_PKEY_free(key);
    ca_close(ca);
    return r;
}

/* The standby root and its key, then the roots that were in use. */
static int read_export(const char *file, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) {
    char *text;
    size_t len;
    int r = file_read_all(file, PEM_MAX, &text, &len, err);
    if (r < 0) return r;
    r = pem_read(text, len, key, certs, err);
    OPENSSL_cleanse(text, len);
    free(text);
    if (r < 0) return error_wrap(err, "%s", file);
    if (!*key || sk_X509_num(*certs) < 2 || !X509_check_ca(sk_X509_value(*certs, 0)) ||
        X509_check_private_key(sk_X509_value(*certs, 0), *key) != 1)
        return error_set(err, ERR_INVALID, "%s is not what `ca standby export` wrote", file);
    return 0;
}

/* root.pem comes last: without it nothing counts as made. */
static int write_recovered(struct ca *ca, EVP_PKEY *key, STACK_OF(X509) * certs, int64_t keep_s, struct error *err) {
    char until[32];
    snprintf(until, sizeof(until), "%lld\n", (long long)clock_wall_s() + keep_s);
    ca->roots[CA_ROOT] = sk_X509_value(certs, 0);
    X509_up_ref(ca->roots[CA_ROOT]);
    int r = check_fleet(ca, ca->roots[CA_ROOT], "the standby root", err);
    /* The last one is the newest, if a root's change came after the export and its certificate was added. */
    X509 *before = sk_X509_value(certs, sk_X509_num(certs) - 1);
    if (r == 0) r = check_fleet(ca, before, "the root", err);
    if (r == 0) r = dir_make_all(ca->dir, 0700, err);
    if (r == 0) r = make_root(ca, CA_STANDBY, err);
    if (r == 0) r = write_pem(key_path(ca, CA_ROOT).text, key, NULL, err);
    if (r == 0) r = make_signer(ca, in_dir(ca, "signer.pem").text, err);
    if (r == 0) r = file_write_atomic(in_dir(ca, "retired.until").text, 0644, until, strlen(until), err);
    if (r == 0) r = write_pem(root_path(ca, CA_RETIRED).text, NULL, before, err);
    return r < 0 ? r : write_pem(root_path(ca, CA_ROOT).text, NULL, ca->roots[CA_ROOT], err);
}

int ca_recover(const char *data, const char *key_file, const char *file, int64_t keep_s, struct error *err) {
    struct ca *ca = ca_new(data, key_file);
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *certs = NULL;
    int r = exists(root_path(ca, CA_ROOT).text)
                ? error_set(err, ERR_BUSY, "%s has an authority already: it is not replaced", ca->dir)
                : read_export(file, &key, &certs, err);
    if (r == 0) r = write_recovered(ca, key, certs, keep_s, err);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    ca_close(ca);
    return r;
}
