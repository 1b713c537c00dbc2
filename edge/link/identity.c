/* Thread: any that may block. */
#include "edge/link/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/file.h"
#include "common/core/log.h"

#define PEM_MAX ((size_t)(256 * KiB))
#define PATH_ROOM 4200

static void path_of(const char *data, const char *file, char out[PATH_ROOM]) {
    snprintf(out, PATH_ROOM, "%.4000s/identity%s%s", data, file[0] ? "/" : "", file);
}

void identity_fini(struct identity *id) {
    EVP_PKEY_free(id->key);
    sk_X509_pop_free(id->chain, X509_free);
    sk_X509_pop_free(id->roots, X509_free);
    *id = (struct identity){0};
}

/* --- making sense of it --- */

static bool is_root(X509 *cert) {
    return X509_check_ca(cert) && X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0;
}

static bool is_signed(const struct identity *id) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || !X509_STORE_CTX_init(ctx, NULL, sk_X509_value(id->chain, 0), id->chain)) out_of_memory();
    X509_STORE_CTX_set0_trusted_stack(ctx, id->roots);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    bool good = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    return good;
}

static int check(struct identity *id, struct error *err) {
    X509 *leaf = sk_X509_value(id->chain, 0);
    if (!id->key || !leaf || sk_X509_num(id->roots) == 0)
        return error_set(err, ERR_INVALID, "the key, the certificate or the roots are missing");
    int r = member_of(&id->who, leaf, err);
    if (r < 0) return r;
    if (id->who.role != MEMBER_EDGE) return error_set(err, ERR_INVALID, "the certificate is not an edge's");
    if (X509_check_private_key(leaf, id->key) != 1)
        return error_set(err, ERR_INVALID, "the certificate is for another key");
    return is_signed(id) ? 0 : error_set(err, ERR_INVALID, "the certificate was not signed by a root of the fleet");
}

static void start(struct identity *id) {
    *id = (struct identity){.chain = sk_X509_new_null(), .roots = sk_X509_new_null()};
    if (!id->chain || !id->roots) out_of_memory();
}

static void push(STACK_OF(X509) * to, X509 *cert) {
    if (sk_X509_push(to, cert) <= 0) out_of_memory();
}

static int add_certs(STACK_OF(X509) * to, const struct wire_bytes *list, size_t n, struct error *err) {
    for (size_t i = 0; i < n; i++) {
        X509 *cert;
        int r = cert_from_der(&cert, list[i].data, list[i].len, err);
        if (r < 0) return r;
        push(to, cert);
    }
    return 0;
}

int identity_of_answer(struct identity *out, EVP_PKEY *key, const struct wire_join_response *rs, struct error *err) {
    start(out);
    EVP_PKEY_up_ref(key);
    out->key = key;
    int r = add_certs(out->chain, rs->chain, rs->n_chain, err);
    if (r == 0) r = add_certs(out->roots, rs->roots, rs->n_roots, err);
    if (r == 0) r = check(out, err);
    if (r == 0) return 0;
    identity_fini(out);
    return error_wrap(err, "central's answer");
}

/* --- the file --- */

static int read_file(const char *path, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) {
    char *text;
    size_t len;
    int r = file_read_all(path, PEM_MAX, &text, &len, err);
    if (r < 0) return r == -ENOENT ? ERR_NOT_FOUND : r;
    r = pem_read(text, len, key, certs, err);
    OPENSSL_cleanse(text, len);
    free(text);
    return r;
}

int identity_load(struct identity *out, const char *data, struct error *err) {
    char path[PATH_ROOM];
    STACK_OF(X509) *certs = NULL;
    path_of(data, "edge.pem", path);
    start(out);
    int r = read_file(path, &out->key, &certs, err);
    for (X509 *cert; r == 0 && (cert = sk_X509_shift(certs));)
        push(is_root(cert) ? out->roots : out->chain, cert);
    sk_X509_free(certs);
    if (r == 0) r = check(out, err);
    if (r == 0) return 0;
    identity_fini(out);
    if (r == ERR_NOT_FOUND) return error_set(err, ERR_NOT_FOUND, "this edge has not joined a fleet");
    error_wrap(err, "%s", path);
    error_hint(err, "put the file back, or join anew: on central, entrepot-central edge invite --replace NAME");
    return r == ERR_INVALID ? ERR_CORRUPT : r;
}

/* Makes a file that is there after a power cut, too: a new certificate counts as in use once it is shown. */
static int write_synced(const char *data, const char *file, const void *text, size_t len, struct error *err) {
    char path[PATH_ROOM], dir[PATH_ROOM];
    path_of(data, file, path);
    path_of(data, "", dir);
    int r = dir_make_all(dir, 0700, err);
    if (r == 0) r = file_write_atomic(path, 0600, text, len, err);
    if (r < 0) return r;
    _cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : error_errno(err, "syncing %s", dir);
}

static void add_all(struct buf *b, STACK_OF(X509) * certs) {
    for (int i = 0; i < sk_X509_num(certs); i++)
        pem_add_cert(b, sk_X509_value(certs, i));
}

int identity_save(const struct identity *id, const char *data, struct error *err) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    pem_add_key(&b, id->key);
    add_all(&b, id->chain);
    add_all(&b, id->roots);
    int r = write_synced(data, "edge.pem", b.data, b.len, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

void identity_pem(const struct identity *id, char **chain, char **key) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    add_all(&b, id->chain);
    *chain = buf_steal(&b, NULL);
    pem_add_key(&b, id->key);
    *key = buf_steal(&b, NULL);
    buf_fini(&b);
}

/* --- what is under way --- */

int identity_joining_key(EVP_PKEY **out, const char *data, struct error *err) {
    char path[PATH_ROOM];
    STACK_OF(X509) *certs = NULL;
    struct buf b;
    struct error ignored = {0};
    path_of(data, "joining.pem", path);
    *out = NULL;
    if (read_file(path, out, &certs, &ignored) == 0) sk_X509_pop_free(certs, X509_free);
    if (*out) return 0;
    EVP_PKEY *key = key_make();
    buf_init(&b, PEM_MAX);
    pem_add_key(&b, key);
    int r = write_synced(data, "joining.pem", b.data, b.len, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    if (r == 0)
        *out = key;
    else
        EVP_PKEY_free(key);
    return r;
}

static void forget(const char *data, const char *file) {
    char path[PATH_ROOM];
    path_of(data, file, path);
    if (unlink(path) < 0 && errno != ENOENT) log_warn("file_not_removed", KV_S("path", path));
}

void identity_joined(const char *data) {
    forget(data, "joining.pem");
    forget(data, "renewal");
}

int identity_renewal(uint8_t id[WIRE_RENEWAL_BYTES], const char *data, struct error *err) {
    char path[PATH_ROOM], *text;
    size_t len;
    struct error ignored = {0};
    path_of(data, "renewal", path);
    if (file_read_all(path, PEM_MAX, &text, &len, &ignored) == 0) {
        bool whole = len == WIRE_RENEWAL_BYTES;
        if (whole) memcpy(id, text, WIRE_RENEWAL_BYTES);
        free(text);
        if (whole) return 0;
    }
    if (RAND_bytes(id, WIRE_RENEWAL_BYTES) != 1) return error_set(err, ERR_INTERNAL, "no random numbers");
    return write_synced(data, "renewal", id, WIRE_RENEWAL_BYTES, err);
}

void identity_renewed(const char *data) {
    forget(data, "renewal");
}

/* --- whose it is --- */

static int give(int dir, const char *name, const struct stat *owner) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? 0 : -1;
    return S_ISLNK(st.st_mode) ? 0 : fchownat(dir, name, owner->st_uid, owner->st_gid, AT_SYMLINK_NOFOLLOW);
}

int identity_give_away(const char *data, struct error *err) {
    struct stat owner;
    if (geteuid() != 0) return 0;
    _cleanup_(closep) int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &owner) < 0) return error_errno(err, "opening %s", data);
    if (give(dir, "identity", &owner) < 0 || give(dir, "identity/edge.pem", &owner) < 0 ||
        give(dir, "identity/joining.pem", &owner) < 0 || give(dir, "identity/renewal", &owner) < 0)
        return error_errno(err, "giving %s/identity to the owner of that folder", data);
    return 0;
}
