/* Writes and reads the URI by which a certificate names a member. Thread: any. */
#include "common/identity/member.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/core/alloc.h"

#define SCHEME "entrepot://"
#define GENERATION "?generation="

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool member_name_is_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len >= MEMBER_NAME_MAX || !is_alnum(name[0])) return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(name[i]) && !strchr("-_.", name[i])) return false;
    return true;
}

int member_name_check(const char *name, struct error *err) {
    if (member_name_is_valid(name)) return 0;
    return error_set(err, ERR_INVALID,
                     "\"%.100s\" is not a name: 1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit",
                     name);
}

/* --- as a URI --- */

char *member_uri(const struct member *m, char out[MEMBER_URI_MAX]) {
    if (m->role == MEMBER_EDGE)
        snprintf(out, MEMBER_URI_MAX, SCHEME "%s/edge/%s/%s" GENERATION "%llu", m->fleet, m->site, m->name,
                 (unsigned long long)m->generation);
    else
        snprintf(out, MEMBER_URI_MAX, SCHEME "%s/%s", m->fleet, m->role == MEMBER_CENTRAL ? "central" : "authority");
    return out;
}

static bool is_uuid(const char *text) {
    if (strlen(text) != FLEET_ID_MAX - 1) return false;
    for (size_t i = 0; text[i]; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (dash ? text[i] != '-' : !hex) return false;
    }
    return true;
}

/* Copies up to the next '/' or the end. NULL: too long; else what follows. */
static const char *component(const char *from, char *out, size_t cap) {
    size_t len = strcspn(from, "/?");
    if (len == 0 || len >= cap) return NULL;
    memcpy(out, from, len);
    out[len] = '\0';
    return from + len;
}

static bool read_generation(const char *text, uint64_t *out) {
    if (strncmp(text, GENERATION, strlen(GENERATION)) != 0) return false;
    text += strlen(GENERATION);
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] || text[0] == '0') return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

bool member_from_uri(struct member *out, const char *uri, size_t len) {
    char text[MEMBER_URI_MAX], role[16];
    *out = (struct member){0};
    if (len >= sizeof(text) || memchr(uri, '\0', len)) return false;
    memcpy(text, uri, len);
    text[len] = '\0';
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0) return false;
    const char *at = component(text + strlen(SCHEME), out->fleet, sizeof(out->fleet));
    if (!at || *at != '/' || !is_uuid(out->fleet)) return false;
    at = component(at + 1, role, sizeof(role));
    if (!at) return false;
    if (*at == '\0' && (strcmp(role, "central") == 0 || strcmp(role, "authority") == 0)) {
        out->role = role[0] == 'c' ? MEMBER_CENTRAL : MEMBER_AUTHORITY;
        return true;
    }
    if (strcmp(role, "edge") != 0 || *at != '/') return false;
    at = component(at + 1, out->site, sizeof(out->site));
    if (!at || *at != '/') return false;
    at = component(at + 1, out->name, sizeof(out->name));
    if (!at || !read_generation(at, &out->generation)) return false;
    out->role = MEMBER_EDGE;
    return member_name_is_valid(out->site) && member_name_is_valid(out->name);
}

/* --- of a certificate --- */

static int64_t seconds_of(const ASN1_TIME *time) {
    struct tm tm;
    return time && ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

void member_key(const EVP_PKEY *key, uint8_t out[MEMBER_KEY_BYTES]) {
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    if (len <= 0 || !EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL)) out_of_memory();
    OPENSSL_free(der);
}

static unsigned read_names(struct member *out, const GENERAL_NAMES *names) {
    unsigned found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        struct member m;
        if (g->type != GEN_URI) continue;
        const ASN1_IA5STRING *uri = g->d.uniformResourceIdentifier;
        if (!member_from_uri(&m, (const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri))) continue;
        if (found++ == 0) *out = m;
    }
    return found;
}

int member_of(struct member *out, const X509 *cert, struct error *err) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    EVP_PKEY *key = X509_get0_pubkey(cert);
    *out = (struct member){0};
    unsigned found = names ? read_names(out, names) : 0;
    GENERAL_NAMES_free(names);
    if (found != 1 || !key) {
        *out = (struct member){0};
        return error_set(err, ERR_INVALID,
                         found > 1 ? "the certificate names several members of a fleet"
                                   : "the certificate is not one of a fleet");
    }
    out->not_before = seconds_of(X509_get0_notBefore(cert));
    out->not_after = seconds_of(X509_get0_notAfter(cert));
    member_key(key, out->key);
    return 0;
}

void fleet_id_make(char out[FLEET_ID_MAX]) {
    uint8_t b[16];
    if (RAND_bytes(b, sizeof(b)) != 1) abort();
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* a random UUID (RFC 9562 section 5.4) */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, FLEET_ID_MAX, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
