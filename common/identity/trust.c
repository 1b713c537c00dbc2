/* Checks the chain of the other end. Thread: one at a time. */
#include "common/identity/trust.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/printable.h"
#include "common/identity/cert.h"

static int refuse(struct trust *t, const char *why) {
    snprintf(t->why, sizeof(t->why), "%.255s", why);
    return ERR_DENIED;
}

/* --- roots --- */

static bool is_pinned(const struct trust *t, const X509 *cert) {
    uint8_t hash[ROOT_HASH_BYTES];
    cert_hash(cert, hash);
    for (size_t i = 0; i < t->n_hashes; i++)
        if (memcmp(t->hashes[i], hash, sizeof(hash)) == 0) return true;
    return false;
}

/* The certificates of the chain that are pinned by their hash. The caller frees the stack, not the certificates. */
static STACK_OF(X509) * pinned(const struct trust *t, STACK_OF(X509) * chain) {
    STACK_OF(X509) *found = sk_X509_new_null();
    if (!found) out_of_memory();
    for (int i = 1; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);
        if (is_pinned(t, cert) && sk_X509_push(found, cert) <= 0) out_of_memory();
    }
    return found;
}

/* --- what the chain says --- */

static int check_time(struct trust *t, const struct member *m) {
    int64_t now = clock_wall_s();
    char a[CLOCK_DATE_MAX], b[CLOCK_DATE_MAX];
    if (now < m->not_before && m->not_before - now > t->slow_s) t->slow_s = m->not_before - now;
    if (now <= m->not_after + TRUST_LATE_S) return 0;
    snprintf(t->why, sizeof(t->why),
             "its certificate ended on %s, and by this machine's clock it is %s: set the clock if that is wrong",
             clock_date(m->not_after, a), clock_date(now, b));
    return ERR_DENIED;
}

static int check_leaf(struct trust *t, const X509 *leaf) {
    struct member m;
    struct error err = {0};
    if (member_of(&m, leaf, &err) < 0) return refuse(t, err.msg);
    if (m.role != MEMBER_CENTRAL) return refuse(t, "its certificate is not central's");
    if (t->fleet[0] && strcmp(t->fleet, m.fleet) != 0) return refuse(t, "it is the central of another fleet");
    return check_time(t, &m);
}

/* A name in a certificate, for people: who it is, else of which organization. */
static const char *name_text(X509_NAME *name, char out[64]) {
    if (X509_NAME_get_text_by_NID(name, NID_commonName, out, 64) < 0 &&
        X509_NAME_get_text_by_NID(name, NID_organizationName, out, 64) < 0)
        snprintf(out, 64, "no name");
    return text_make_printable(out);
}

/* A middlebox that intercepts TLS shows a certificate of no fleet at all. It often bears the name that was asked for;
 * whose it is says its issuer. */
static int refuse_stranger(struct trust *t, const X509 *leaf) {
    struct member m;
    struct error ignored = {0};
    char name[64], by[64], issued[80] = "";
    if (member_of(&m, leaf, &ignored) == 0) return 0;
    name_text(X509_get_subject_name(leaf), name);
    name_text(X509_get_issuer_name(leaf), by);
    if (strcmp(name, by) != 0) snprintf(issued, sizeof(issued), ", issued by \"%.60s\"", by);
    snprintf(
        t->why, sizeof(t->why),
        "it shows a certificate of no fleet (\"%.60s\"%s): another program is there, or something on the way opens TLS",
        name, issued);
    return ERR_DENIED;
}

static int check_signatures(struct trust *t, STACK_OF(X509) * chain, STACK_OF(X509) * roots) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || !X509_STORE_CTX_init(ctx, NULL, sk_X509_value(chain, 0), chain)) out_of_memory();
    X509_STORE_CTX_set0_trusted_stack(ctx, roots);
    X509_STORE_CTX_set_default(ctx, "ssl_server");
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    bool good = X509_verify_cert(ctx) == 1;
    int code = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    if (good) return 0;
    snprintf(t->why, sizeof(t->why), "its certificate was not signed by a root of this fleet (%s)",
             X509_verify_cert_error_string(code));
    return ERR_DENIED;
}

int trust_check(struct trust *t, STACK_OF(X509) * chain) {
    t->why[0] = '\0';
    t->slow_s = 0;
    if (sk_X509_num(chain) < 1) return refuse(t, "it shows no certificate");
    int stranger = refuse_stranger(t, sk_X509_value(chain, 0));
    if (stranger < 0) return stranger;
    STACK_OF(X509) *found = t->roots ? NULL : pinned(t, chain);
    STACK_OF(X509) *roots = t->roots ? t->roots : found;
    int r = sk_X509_num(roots) > 0
                ? 0
                : refuse(t, "it is not the central that made this token: none of its root certificates is one that the "
                            "token names");
    if (r == 0) r = check_signatures(t, chain, roots);
    if (r < 0 && found && sk_X509_num(found) > 0)
        r = refuse(t, "the root that signs for it is none that the token names: the token is older than a change of "
                      "central's root (make another), or this is another central");
    if (r == 0) r = check_leaf(t, sk_X509_value(chain, 0));
    sk_X509_free(found);
    return r;
}

/* OpenSSL's callback. 1: the certificate is good. */
static int on_verify(X509_STORE_CTX *ctx, void *arg) {
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
    X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (!chain || (leaf && sk_X509_push(chain, leaf) <= 0)) out_of_memory();
    for (int i = 0; i < sk_X509_num(sent); i++)
        if (sk_X509_value(sent, i) != leaf && sk_X509_push(chain, sk_X509_value(sent, i)) <= 0) out_of_memory();
    bool good = trust_check(arg, chain) == 0;
    sk_X509_free(chain);
    X509_STORE_CTX_set_error(ctx, good ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return good;
}

void trust_apply(struct trust *t, SSL_CTX *ctx) {
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, t);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
}
