/* A certificate and key of a test's own, in PEM files. */
#ifndef ENTREPOT_TESTS_SELF_SIGNED_H
#define ENTREPOT_TESTS_SELF_SIGNED_H

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/core/file.h"
#include "common/identity/cert.h"

/* As the names' subject alternative names: addresses, or hosts. */
static inline void self_signed_names(X509 *x, const char *const *names, size_t n) {
    char list[500] = "";
    for (size_t i = 0; i < n; i++) {
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(names[i]);
        size_t len = strlen(list);
        snprintf(list + len, sizeof(list) - len, "%s%s:%s", i ? "," : "", ip ? "IP" : "DNS", names[i]);
        ASN1_OCTET_STRING_free(ip);
    }
    ERR_clear_error(); /* a name that is no address leaves one */
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, list);
    if (!e || !X509_add_ext(x, e, -1)) abort();
    X509_EXTENSION_free(e);
}

/* Good for ten years and these names; replaces what is there. */
static inline int self_signed_make(const char *cert_file, const char *key_file, const char *const *names, size_t n,
                                   struct error *err) {
    struct buf key_pem, cert_pem;
    EVP_PKEY *key = key_make();
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    if (!X509_set_version(x, X509_VERSION_3) || !X509_set_pubkey(x, key) ||
        !ASN1_INTEGER_set_int64(X509_get_serialNumber(x), 1) || !X509_gmtime_adj(X509_getm_notBefore(x), -300) ||
        !X509_gmtime_adj(X509_getm_notAfter(x), 3650L * 86400) ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)names[0], -1, -1, 0) ||
        !X509_set_issuer_name(x, name))
        abort();
    self_signed_names(x, names, n);
    if (X509_sign(x, key, EVP_sha256()) <= 0) abort();
    buf_init(&key_pem, 65536);
    buf_init(&cert_pem, 65536);
    pem_add_key(&key_pem, key);
    pem_add_cert(&cert_pem, x);
    int r = file_write_atomic(key_file, 0600, key_pem.data, key_pem.len, err);
    if (r == 0) r = file_write_atomic(cert_file, 0644, cert_pem.data, cert_pem.len, err);
    buf_fini(&key_pem);
    buf_fini(&cert_pem);
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

#endif
