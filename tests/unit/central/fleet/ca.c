/* The fleet's authority, and how an edge checks what central shows. */
#include "tests/unit/central/fleet/fleet.h"

#include <sys/stat.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "common/identity/attest.h"
#include "common/identity/trust.h"

/* What central would show now: its own certificate, then the chain that its context sends. */
static STACK_OF(X509) * shown(const struct ca *ca) {
    SSL_CTX *ctx = ca_context(ca, 30 * DAY);
    STACK_OF(X509) *chain = sk_X509_new_null(), *extra = NULL;
    X509 *leaf = SSL_CTX_get0_certificate(ctx);
    X509_up_ref(leaf);
    sk_X509_push(chain, leaf);
    SSL_CTX_get0_chain_certs(ctx, &extra);
    for (int i = 0; i < sk_X509_num(extra); i++) {
        X509_up_ref(sk_X509_value(extra, i));
        sk_X509_push(chain, sk_X509_value(extra, i));
    }
    SSL_CTX_free(ctx);
    return chain;
}

static int check(struct trust *t, const struct ca *ca) {
    STACK_OF(X509) *chain = shown(ca);
    int r = trust_check(t, chain);
    sk_X509_pop_free(chain, X509_free);
    return r;
}

#define N_ROOTS 2 /* root and standby root */
static void hashes_of(const struct ca *ca, uint8_t out[N_ROOTS][ROOT_HASH_BYTES]) {
    for (unsigned i = 0; i < N_ROOTS; i++)
        cert_hash(ca_root(ca, (enum ca_root)i), out[i]);
}

static void authority_is_made_once_and_hides_its_keys(void **state) {
    (void)state;
    char id[FLEET_ID_MAX], path[200];
    struct stat st;
    static const char *const keys[] = {"root.key.pem", "standby.key.pem", "signer.pem"};
    memcpy(id, ca_fleet(fleet.ca), sizeof(id));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        snprintf(path, sizeof(path), "%s/identity/%s", fleet.dir, keys[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    fleet_close();
    fleet_open();
    assert_string_equal(ca_fleet(fleet.ca), id);
}

static void central_runs_without_the_roots_key(void **state) {
    (void)state;
    char path[200];
    snprintf(path, sizeof(path), "%s/identity/root.key.pem", fleet.dir);
    assert_int_equal(unlink(path), 0);
    fleet_close();
    fleet_open();
    assert_false(ca_has_key(fleet.ca, CA_ROOT));
    struct trust t = {.hashes = NULL};
    uint8_t hashes[N_ROOTS][ROOT_HASH_BYTES];
    hashes_of(fleet.ca, hashes);
    t.hashes = (const uint8_t(*)[ROOT_HASH_BYTES])hashes;
    t.n_hashes = N_ROOTS;
    assert_int_equal(check(&t, fleet.ca), 0);
    snprintf(path, sizeof(path), "%s/identity/signer.pem", fleet.dir);
    assert_int_equal(unlink(path), 0);
    struct ca *other;
    struct error err = {0};
    assert_true(ca_open(&other, fleet.dir, NULL, &err) < 0);
    assert_non_null(strstr(err.hint, "fleet.ca_key_file"));
}

static void pinned_root_is_found_in_what_central_shows(void **state) {
    (void)state;
    uint8_t hashes[N_ROOTS][ROOT_HASH_BYTES];
    hashes_of(fleet.ca, hashes);
    struct trust t = {.hashes = (const uint8_t(*)[ROOT_HASH_BYTES])hashes, .n_hashes = N_ROOTS};
    assert_int_equal(check(&t, fleet.ca), 0);
    t.n_hashes = 1;
    assert_int_equal(check(&t, fleet.ca), 0);
    hashes[0][5] ^= 1;
    assert_int_equal(check(&t, fleet.ca), ERR_DENIED);
    assert_non_null(strstr(t.why, "not the central that made this token"));
}

/* The standby root that it names is still shown, but signs nothing. */
static void token_from_before_a_change_of_the_root_is_told_as_such(void **state) {
    (void)state;
    uint8_t hashes[N_ROOTS][ROOT_HASH_BYTES];
    struct error err = {0};
    hashes_of(fleet.ca, hashes);
    struct trust t = {.hashes = (const uint8_t(*)[ROOT_HASH_BYTES])hashes, .n_hashes = N_ROOTS};
    assert_int_equal(ca_begin_rotation(fleet.ca, &err), 0);
    assert_int_equal(check(&t, fleet.ca), 0);
    assert_int_equal(ca_switch(fleet.ca, &err), 0);
    assert_int_equal(check(&t, fleet.ca), ERR_DENIED);
    assert_non_null(strstr(t.why, "older than a change of central's root"));
    hashes_of(fleet.ca, hashes);
    assert_int_equal(check(&t, fleet.ca), 0);
}

static void central_of_another_fleet_is_refused(void **state) {
    (void)state;
    char dir[] = "/tmp/entrepot-other-XXXXXX";
    struct error err = {0};
    struct ca *other;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(ca_open(&other, dir, NULL, &err), 0);
    STACK_OF(X509) *roots = sk_X509_new_null();
    sk_X509_push(roots, ca_root(fleet.ca, CA_ROOT));
    struct trust t = {.roots = roots};
    snprintf(t.fleet, sizeof(t.fleet), "%s", ca_fleet(fleet.ca));
    assert_int_equal(check(&t, fleet.ca), 0);
    assert_int_equal(check(&t, other), ERR_DENIED);
    assert_non_null(strstr(t.why, "not signed by a root of this fleet"));
    snprintf(t.fleet, sizeof(t.fleet), "%s", ca_fleet(other));
    assert_int_equal(check(&t, fleet.ca), ERR_DENIED);
    assert_non_null(strstr(t.why, "another fleet"));
    sk_X509_free(roots);
    ca_close(other);
    assert_int_equal(folder_remove(dir), 0);
}

/* An edge that poses as central. */
static void certificate_of_an_edge_is_not_centrals(void **state) {
    (void)state;
    struct member m = {.role = MEMBER_EDGE, .generation = 1, .not_before = START, .not_after = START + DAY};
    snprintf(m.fleet, sizeof(m.fleet), "%s", ca_fleet(fleet.ca));
    snprintf(m.site, sizeof(m.site), "shanghai");
    snprintf(m.name, sizeof(m.name), "shanghai-1");
    EVP_PKEY *key = key_make();
    STACK_OF(X509) *roots = sk_X509_new_null(), *chain = sk_X509_new_null();
    X509 *leaf = ca_issue(fleet.ca, &m, key);
    sk_X509_push(roots, ca_root(fleet.ca, CA_ROOT));
    sk_X509_push(chain, leaf);
    sk_X509_push(chain, ca_signer(fleet.ca));
    struct trust t = {.roots = roots};
    assert_int_equal(trust_check(&t, chain), ERR_DENIED);
    assert_non_null(strstr(t.why, "not central's"));
    X509_free(leaf);
    sk_X509_free(roots);
    sk_X509_free(chain);
    EVP_PKEY_free(key);
}

static void wrong_clock_is_borne_within_bounds(void **state) {
    (void)state;
    STACK_OF(X509) *roots = sk_X509_new_null();
    sk_X509_push(roots, ca_root(fleet.ca, CA_ROOT));
    struct trust t = {.roots = roots};
    STACK_OF(X509) *chain = shown(fleet.ca); /* made at START */
    static const struct {
        int64_t at;
        bool good, slow;
    } cases[] = {
        {0, true, true},                      /* 1970 */
        {START - 7200, true, true},           /* two hours slow */
        {START - 600, true, false},           /* ten minutes slow */
        {START + 600, true, false},           /* ten minutes fast */
        {START + 45 * DAY - 60, true, false}, /* 15 days after the end */
        {START + 45 * DAY + 60, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_time(cases[i].at);
        bool good = trust_check(&t, chain) == 0;
        if (good != cases[i].good || (t.slow_s > 0) != cases[i].slow) fail_msg("row %zu: %s", i, t.why);
    }
    assert_non_null(strstr(t.why, "set the clock"));
    sk_X509_pop_free(chain, X509_free);
    sk_X509_free(roots);
}

/* It must not let anybody enter the fleet port, or pass for central. */
static void certificate_of_a_registry_port_is_good_for_servers_alone(void **state) {
    (void)state;
    static const char *const names[] = {"registry.acme.example", "10.1.0.5"};
    struct member m;
    struct error err = {0};
    EVP_PKEY *key = key_make();
    X509 *cert = ca_issue_server(fleet.ca, &(struct ca_server){.common_name = "shanghai-1",
                                                               .names = names,
                                                               .n_names = ARRAY_LEN(names),
                                                               .key = key,
                                                               .lifetime_s = 30 * DAY});
    STACK_OF(X509) *more = sk_X509_new_null(), *roots = ca_trusted(fleet.ca);
    assert_true(sk_X509_push(more, ca_signer_of(fleet.ca, cert)) > 0);
    assert_true(chain_is_good(cert, more, roots));
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 0);
    assert_int_equal(X509_check_host(cert, "registry.acme.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(cert, "10.1.0.5", 0), 1);
    assert_int_equal(X509_check_host(cert, "shanghai-1", 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL), 0);
    assert_int_equal(member_of(&m, cert, &err), ERR_INVALID);
    struct trust t = {.roots = roots};
    assert_true(sk_X509_unshift(more, cert) > 0);
    assert_int_equal(trust_check(&t, more), ERR_DENIED);
    sk_X509_free(more);
    sk_X509_free(roots);
    X509_free(cert);
    EVP_PKEY_free(key);
}

int main(void) {
#define IN_FLEET(t) cmocka_unit_test_setup_teardown(t, fleet_setup, fleet_teardown)
    const struct CMUnitTest tests[] = {
        IN_FLEET(authority_is_made_once_and_hides_its_keys),
        IN_FLEET(central_runs_without_the_roots_key),
        IN_FLEET(pinned_root_is_found_in_what_central_shows),
        IN_FLEET(central_of_another_fleet_is_refused),
        IN_FLEET(token_from_before_a_change_of_the_root_is_told_as_such),
        IN_FLEET(certificate_of_an_edge_is_not_centrals),
        IN_FLEET(wrong_clock_is_borne_within_bounds),
        IN_FLEET(certificate_of_a_registry_port_is_good_for_servers_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
