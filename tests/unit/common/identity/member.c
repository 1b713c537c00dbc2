/* Who a certificate of the fleet names. */
#include "common/identity/member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/identity/cert.h"

#define FLEET "01234567-89ab-4cde-8f01-23456789abcd"

static void names_of_sites_and_edges_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"shanghai", "shanghai-1", "A.b_c", "7"};
    static const char *const bad[] = {"", "-a", ".a", "a b", "a/b", "a?b", "ü", "a\n"};
    char lengthy[MEMBER_NAME_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(member_name_is_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(member_name_is_valid(bad[i]));
    memset(lengthy, 'a', sizeof(lengthy));
    lengthy[MEMBER_NAME_MAX] = '\0';
    assert_false(member_name_is_valid(lengthy));
    lengthy[MEMBER_NAME_MAX - 1] = '\0';
    assert_true(member_name_is_valid(lengthy));
}

static void uri_is_read_as_it_was_written(void **state) {
    (void)state;
    static const struct member members[] = {
        {.role = MEMBER_CENTRAL, .fleet = FLEET},
        {.role = MEMBER_AUTHORITY, .fleet = FLEET},
        {.role = MEMBER_EDGE, .fleet = FLEET, .site = "shanghai", .name = "shanghai-1", .generation = 17}};
    char uri[MEMBER_URI_MAX];
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct member back;
        member_uri(&members[i], uri);
        assert_true(member_from_uri(&back, uri, strlen(uri)));
        assert_memory_equal(&back, &members[i], sizeof(back));
    }
}

static void other_uris_name_nobody(void **state) {
    (void)state;
    static const char *const uris[] = {
        "",
        "https://" FLEET "/central",
        "entrepot://" FLEET,
        "entrepot://" FLEET "/",
        "entrepot://" FLEET "/central/",
        "entrepot://" FLEET "/central?generation=1",
        "entrepot://0123/central",
        "entrepot://" FLEET "/edge/shanghai",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=0",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=01",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=9999999999999999999",
        "entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=1&role=central",
        "entrepot://" FLEET "/edge/-/shanghai-1?generation=1",
        "entrepot://" FLEET "/edge//shanghai-1?generation=1",
        "entrepot://" FLEET "/edge/a/b/c?generation=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        struct member m;
        if (member_from_uri(&m, uris[i], strlen(uris[i]))) fail_msg("taken: %s", uris[i]);
    }
    struct member m;
    assert_false(member_from_uri(&m, "entrepot://" FLEET "/central\0x", strlen("entrepot://" FLEET "/central") + 2));
}

static X509 *certificate(const char *uri, const char *const *names, size_t n) {
    EVP_PKEY *key = key_make();
    X509 *cert = cert_make(&(struct cert_order){.common_name = "test",
                                                .uri = uri,
                                                .key = key,
                                                .not_before = 1000,
                                                .not_after = 2000,
                                                .names = names,
                                                .n_names = n});
    EVP_PKEY_free(key);
    return cert;
}

static void certificate_tells_its_member(void **state) {
    (void)state;
    struct member m;
    struct error err = {0};
    static const char *const names[] = {"localhost", "10.1.0.5"};
    X509 *cert = certificate("entrepot://" FLEET "/edge/shanghai/shanghai-1?generation=3", names, 2);
    assert_int_equal(member_of(&m, cert, &err), 0);
    assert_int_equal(m.role, MEMBER_EDGE);
    assert_string_equal(m.name, "shanghai-1");
    assert_int_equal(m.generation, 3);
    assert_int_equal(m.not_before, 1000);
    assert_int_equal(m.not_after, 2000);
    X509_free(cert);
    cert = certificate("urn:other", NULL, 0);
    assert_int_equal(member_of(&m, cert, &err), ERR_INVALID);
    assert_int_equal(m.role, MEMBER_NONE);
    X509_free(cert);
}

static void fleet_ids_are_uuids_and_differ(void **state) {
    (void)state;
    char a[FLEET_ID_MAX], b[FLEET_ID_MAX];
    struct member m = {.role = MEMBER_CENTRAL}, back;
    char uri[MEMBER_URI_MAX];
    fleet_id_make(a);
    fleet_id_make(b);
    assert_string_not_equal(a, b);
    memcpy(m.fleet, a, sizeof(a));
    member_uri(&m, uri);
    assert_true(member_from_uri(&back, uri, strlen(uri)));
}

static void request_is_taken_with_its_own_signature_only(void **state) {
    (void)state;
    EVP_PKEY *key = key_make(), *found = NULL;
    struct error err = {0};
    uint8_t *der, a[MEMBER_KEY_BYTES], b[MEMBER_KEY_BYTES];
    size_t len;
    csr_make(key, &der, &len);
    assert_int_equal(csr_key(&found, der, len, &err), 0);
    member_key(key, a);
    member_key(found, b);
    assert_memory_equal(a, b, sizeof(a));
    EVP_PKEY_free(found);
    assert_int_equal(csr_key(&found, der, len - 1, &err), ERR_INVALID);
    der[len - 1] ^= 1;
    assert_int_equal(csr_key(&found, der, len, &err), ERR_INVALID);
    free(der);
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    csr_make(weak, &der, &len);
    assert_int_equal(csr_key(&found, der, len, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "P-256"));
    free(der);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_sites_and_edges_are_checked),
        cmocka_unit_test(uri_is_read_as_it_was_written),
        cmocka_unit_test(other_uris_name_nobody),
        cmocka_unit_test(certificate_tells_its_member),
        cmocka_unit_test(fleet_ids_are_uuids_and_differ),
        cmocka_unit_test(request_is_taken_with_its_own_signature_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
