/* Reads, checks and replaces this edge's identity. Thread: any that may block. */
#include "edge/link/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/identity/attest.h"

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
    return chain_is_good(sk_X509_value(id->chain, 0), id->chain, id->roots);
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

int identity_read(const char *data, const char *file, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) {
    char path[PATH_ROOM];
    path_of(data, file, path);
    return read_file(path, key, certs, err);
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

/* Writes a file that survives a power cut, because central takes a new certificate as in use once it was shown. */
int identity_write(const char *data, const char *file, const void *text, size_t len, struct error *err) {
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
    int r = identity_write(data, "edge.pem", b.data, b.len, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

/* --- changing it --- */

/* A renewal and a change of roots each read the file, change it and write it. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

int identity_save_renewed(const struct identity *id, const char *data, struct error *err) {
    struct identity held;
    pthread_mutex_lock(&changing);
    int r = identity_load(&held, data, err);
    if (r == 0) {
        bool same = memcmp(held.who.key, id->who.key, sizeof(held.who.key)) == 0;
        identity_fini(&held);
        r = same ? identity_save(id, data, err) : error_set(err, ERR_CANCELLED, "this edge has joined anew meanwhile");
    }
    pthread_mutex_unlock(&changing);
    return r;
}

static int check_roots(const struct identity *id, STACK_OF(X509) * roots, struct error *err) {
    for (int i = 0; i < sk_X509_num(roots); i++) {
        struct member m;
        X509 *root = sk_X509_value(roots, i);
        if (!is_root(root) || member_of(&m, root, err) < 0 || m.role != MEMBER_AUTHORITY ||
            strcmp(m.fleet, id->who.fleet) != 0)
            return error_set(err, ERR_DENIED, "a root that central sent is not one of this fleet");
    }
    return chain_is_good(sk_X509_value(id->chain, 0), id->chain, roots)
               ? 0
               : error_set(err, ERR_DENIED,
                           "this edge's certificate leads to none of the roots that central sent: it must be renewed");
}

static int change_roots(struct identity *out, const char *data, const struct wire_bytes *roots, size_t n,
                        struct error *err) {
    int r = identity_load(out, data, err);
    if (r < 0) return r;
    STACK_OF(X509) *fresh = sk_X509_new_null();
    if (!fresh) out_of_memory();
    r = add_certs(fresh, roots, n, err);
    if (r == 0) r = check_roots(out, fresh, err);
    bool same = r == 0 && roots_mark(fresh) == roots_mark(out->roots);
    if (r == 0) {
        sk_X509_pop_free(out->roots, X509_free);
        out->roots = fresh;
        if (!same) r = identity_save(out, data, err);
    } else {
        sk_X509_pop_free(fresh, X509_free);
    }
    if (r < 0) identity_fini(out);
    return r;
}

int identity_save_roots(struct identity *out, const char *data, const struct wire_bytes *roots, size_t n,
                        struct error *err) {
    pthread_mutex_lock(&changing);
    int r = change_roots(out, data, roots, n, err);
    pthread_mutex_unlock(&changing);
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

char *identity_roots_pem(const struct identity *id) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    add_all(&b, id->roots);
    return buf_steal(&b, NULL);
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
    int r = identity_write(data, "joining.pem", b.data, b.len, err);
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
    forget(data, "renewal");
    forget(data, "central");
    forget(data, "registry.pem");
    forget(data, "joining.pem"); /* last: while it is there, the join is not done */
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
    return identity_write(data, "renewal", id, WIRE_RENEWAL_BYTES, err);
}

void identity_renewed(const char *data) {
    forget(data, "renewal");
}

/* --- the owner of the files --- */

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
        give(dir, "identity/joining.pem", &owner) < 0 || give(dir, "identity/renewal", &owner) < 0 ||
        give(dir, "identity/fleet.pb", &owner) < 0 || give(dir, "identity/central", &owner) < 0 ||
        give(dir, "identity/registry.pem", &owner) < 0)
        return error_errno(err, "giving %s/identity to the owner of that folder", data);
    return 0;
}
