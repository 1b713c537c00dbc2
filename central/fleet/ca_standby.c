/* The standby root's key: moved into a file that is kept elsewhere, and a new central made from it. Thread: main of a
 * command. */
#include "central/fleet/ca_private.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/identity/cert.h"

static int write_new_file(const char *file, const struct buf *b, struct error *err) {
    _cleanup_(closep) int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int r = error_errno(err, "creating %s", file);
        if (r == -ENOENT || r == -EEXIST)
            error_hint(err, "give a file that is not there yet, in a folder that is: mount the medium before");
        return r;
    }
    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return error_errno(err, "writing %s", file);
        done += (size_t)n;
    }
    if (fsync(fd) < 0) return error_errno(err, "syncing %s", file);
    return ca_sync_folder_of(file, err);
}

/* What was written can be read, and is this key. */
static int check_export(const char *file, EVP_PKEY *key, struct error *err) {
    X509 *cert = NULL;
    EVP_PKEY *read = NULL;
    int r = ca_read_pem(file, &cert, &read, err);
    if (r == 0 && (EVP_PKEY_eq(read, key) != 1 || X509_check_private_key(cert, read) != 1))
        r = error_set(err, ERR_CORRUPT, "%s was not written as it should be", file);
    X509_free(cert);
    EVP_PKEY_free(read);
    return r;
}

static int export_to(const char *file, struct ca *ca, EVP_PKEY *key, struct error *err) {
    struct buf b;
    buf_init(&b, CA_PEM_MAX);
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
    struct ca_path path = ca_key_path(ca, CA_STANDBY);
    EVP_PKEY *key = NULL;
    int r = ca_read_roots(ca, err);
    if (r == -ENOENT) error_hint(err, "central makes it at its first start; is this its data folder?");
    if (r == 0 && !ca_path_exists(path.text)) {
        r = error_set(err, ERR_NOT_FOUND, "the standby root's key is not in %s", ca->dir);
        error_hint(err, "it was exported before: it is where that file was put");
    }
    if (r == 0) r = ca_read_pem(path.text, NULL, &key, err);
    if (r == 0) r = export_to(file, ca, key, err);
    if (r == 0) r = ca_forget(ca, "standby.key.pem", err);
    if (r == 0) r = ca_sync_folder_of(path.text, err);
    EVP_PKEY_free(key);
    ca_close(ca);
    return r;
}

/* The standby root and its key, then the roots that were in use. */
static int read_export(const char *file, EVP_PKEY **key, STACK_OF(X509) * *certs, struct error *err) {
    char *text;
    size_t len;
    int r = file_read_all(file, CA_PEM_MAX, &text, &len, err);
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
    int r = ca_check_fleet(ca, ca->roots[CA_ROOT], "the standby root", err);
    /* The last one is the newest, if a root's change came after the export and its certificate was added. */
    X509 *before = sk_X509_value(certs, sk_X509_num(certs) - 1);
    if (r == 0) r = ca_check_fleet(ca, before, "the root", err);
    if (r == 0) r = dir_make_all(ca->dir, 0700, err);
    if (r == 0) r = ca_make_root(ca, CA_STANDBY, err);
    if (r == 0) r = ca_write_pem(ca_key_path(ca, CA_ROOT).text, key, NULL, err);
    if (r == 0) r = ca_make_signer(ca, ca_path(ca, "signer.pem").text, err);
    if (r == 0) r = file_write_atomic(ca_path(ca, "retired.until").text, 0644, until, strlen(until), err);
    if (r == 0) r = ca_write_pem(ca_root_path(ca, CA_RETIRED).text, NULL, before, err);
    return r < 0 ? r : ca_write_pem(ca_root_path(ca, CA_ROOT).text, NULL, ca->roots[CA_ROOT], err);
}

int ca_recover(const char *data, const char *key_file, const char *file, int64_t keep_s, struct error *err) {
    struct ca *ca = ca_new(data, key_file);
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *certs = NULL;
    int r = ca_path_exists(ca_root_path(ca, CA_ROOT).text)
                ? error_set(err, ERR_BUSY, "%s has an authority already: it is not replaced", ca->dir)
                : read_export(file, &key, &certs, err);
    if (r == ERR_BUSY)
        error_hint(err,
                   "this is for a new machine, before central's first start; a central that has its records needs no "
                   "`ca recover`. From a backup: `entrepot-central restore`");
    if (r == 0) r = write_recovered(ca, key, certs, keep_s, err);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    ca_close(ca);
    return r;
}
