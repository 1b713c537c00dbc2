/* Certificates are signed, checked and shown by several threads while the root changes under them. */
#include "tests/unit/central/fleet/fleet.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/identity/attest.h"

#define THREADS 3
#define ROTATIONS 6

static atomic_bool over;
static atomic_uint signed_certs, shown;

/* Whatever is signed leads to a root that is trusted at that time or just after, with the signer that is told for it. */
static void *sign_and_check(void *arg) {
    (void)arg;
    EVP_PKEY *key = key_make();
    while (!atomic_load(&over)) {
        struct member m = {.role = MEMBER_EDGE, .generation = 1, .not_before = START, .not_after = START + DAY};
        snprintf(m.fleet, sizeof(m.fleet), "%s", ca_fleet(fleet.ca));
        snprintf(m.site, sizeof(m.site), "shanghai");
        snprintf(m.name, sizeof(m.name), "shanghai-1");
        X509 *cert = ca_issue(fleet.ca, &m, key), *signer = ca_signer_of(fleet.ca, cert);
        STACK_OF(X509) *roots = ca_trusted(fleet.ca);
        assert(sk_X509_num(roots) >= 2);
        if (signer) { /* else two switches came in between */
            uint8_t *signature;
            size_t len;
            struct error err = {0};
            X509 *by = ca_attest(fleet.ca, "word", 4, &signature, &len);
            STACK_OF(X509) *now = ca_trusted(fleet.ca);
            int r = attest_check(now, ca_fleet(fleet.ca), by, "word", 4, signature, len, &err);
            assert(r == 0 || r == ERR_DENIED);
            sk_X509_free(now);
            free(signature);
            atomic_fetch_add(&signed_certs, 1);
        }
        sk_X509_free(roots);
        X509_free(cert);
    }
    EVP_PKEY_free(key);
    return NULL;
}

static void *show(void *arg) {
    (void)arg;
    while (!atomic_load(&over)) {
        SSL_CTX_free(ca_context(fleet.ca, DAY));
        for (unsigned i = 0; i < CA_ROOTS; i++)
            (void)ca_has_key(fleet.ca, (enum ca_root)i);
        atomic_fetch_add(&shown, 1);
    }
    return NULL;
}

static void root_changes_while_others_sign_and_show(void **state) {
    (void)state;
    pthread_t threads[THREADS + 1];
    struct error err = {0};
    atomic_store(&over, false);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_and_check, NULL), 0);
    assert_int_equal(pthread_create(&threads[THREADS], NULL, show, NULL), 0);
    for (unsigned i = 0; i < ROTATIONS; i++) {
        unsigned before = atomic_load(&signed_certs);
        assert_int_equal(ca_begin_rotation(fleet.ca, &err), 0);
        assert_int_equal(ca_switch(fleet.ca, &err), 0);
        assert_int_equal(ca_end_rotation(fleet.ca, &err), 0);
        while (atomic_load(&signed_certs) == before || atomic_load(&shown) == 0) {}
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(root_changes_while_others_sign_and_show, fleet_setup, fleet_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
