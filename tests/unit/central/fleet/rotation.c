/* A new root takes the place of the old one, and removals are signed words that central can be told again. */
#include "tests/unit/central/fleet/fleet.h"

#include <unistd.h>

#include "central/fleet/rotation.h"
#include "common/identity/attest.h"

static X509 *attest(const void *data, size_t len, uint8_t **signature, size_t *signature_len, void *arg) {
    (void)arg;
    return ca_attest(fleet.ca, data, len, signature, signature_len);
}

/* The roster of the fixture signs nothing: one that does takes its place. */
static void roster_attests(void) {
    struct error err = {0};
    roster_close(fleet.roster);
    const struct roster_config rc = {.data = fleet.dir,
                                     .pool = fleet.pool,
                                     .lifetime_s = 30 * DAY,
                                     .rejoin_window_s = 90 * DAY,
                                     .sign = fleet_sign,
                                     .attest = attest,
                                     .fleet = ca_fleet(fleet.ca)};
    if (roster_open(&fleet.roster, &rc, &err) < 0) fail_msg("%s", err.msg);
}

static void must(int r, const struct error *err) {
    if (r < 0) fail_msg("%s", err->msg);
}

static X509 *certificate(const char *name, EVP_PKEY *key) {
    struct member m = {.role = MEMBER_EDGE, .generation = 1, .not_before = START, .not_after = START + DAY};
    snprintf(m.fleet, sizeof(m.fleet), "%s", ca_fleet(fleet.ca));
    snprintf(m.site, sizeof(m.site), "shanghai");
    snprintf(m.name, sizeof(m.name), "%s", name);
    return ca_issue(fleet.ca, &m, key);
}

/* Whether a node that trusts what central trusts now takes it, with the signer that is sent along. */
static bool is_trusted(X509 *cert) {
    X509 *signer = ca_signer_of(fleet.ca, cert);
    STACK_OF(X509) *roots = ca_trusted(fleet.ca), *chain = sk_X509_new_null();
    if (signer) sk_X509_push(chain, signer);
    bool good = signer && chain_is_good(cert, chain, roots);
    sk_X509_free(roots);
    sk_X509_free(chain);
    return good;
}

/* --- the authority --- */

static void new_root_signs_after_the_switch_and_the_old_one_leaves_last(void **state) {
    (void)state;
    struct error err = {0};
    EVP_PKEY *key = key_make();
    X509 *before = certificate("a", key), *root = ca_root(fleet.ca, CA_ROOT), *signer = ca_signer(fleet.ca);
    assert_int_equal(ca_switch(fleet.ca, &err), ERR_INVALID);
    assert_int_equal(ca_end_rotation(fleet.ca, &err), ERR_INVALID);
    must(ca_begin_rotation(fleet.ca, &err), &err);
    assert_int_equal(ca_state(fleet.ca), CA_SPREADING);
    assert_int_equal(ca_begin_rotation(fleet.ca, &err), ERR_BUSY);
    assert_ptr_equal(ca_signer(fleet.ca), signer);
    X509 *next = ca_root(fleet.ca, CA_NEXT);
    must(ca_switch(fleet.ca, &err), &err);
    assert_int_equal(ca_state(fleet.ca), CA_RETIRING);
    assert_int_equal(X509_cmp(ca_root(fleet.ca, CA_ROOT), next), 0);
    assert_int_equal(X509_cmp(ca_root(fleet.ca, CA_RETIRED), root), 0);
    X509 *after = certificate("a", key);
    assert_true(is_trusted(before));
    assert_true(is_trusted(after));
    assert_ptr_equal(ca_signer_of(fleet.ca, before), signer);
    must(ca_end_rotation(fleet.ca, &err), &err);
    assert_int_equal(ca_state(fleet.ca), CA_STEADY);
    assert_false(is_trusted(before));
    assert_true(is_trusted(after));
    X509_free(before);
    X509_free(after);
    EVP_PKEY_free(key);
}

static X509 *server_certificate(EVP_PKEY *key) {
    static const char *const names[] = {"registry.acme.example"};
    return ca_issue_server(
        fleet.ca,
        &(struct ca_server){.common_name = "a", .names = names, .n_names = 1, .key = key, .lifetime_s = 30 * DAY});
}

/* Whether an engine that knows this root alone takes a certificate that is made now. */
static bool engine_takes_it(X509 *root) {
    EVP_PKEY *key = key_make();
    X509 *cert = server_certificate(key);
    STACK_OF(X509) *chain = ca_server_chain(fleet.ca, cert), *roots = sk_X509_new_null();
    sk_X509_push(roots, root);
    bool good = chain_is_good(cert, chain, roots);
    sk_X509_free(roots);
    sk_X509_free(chain);
    X509_free(cert);
    EVP_PKEY_free(key);
    return good;
}

static void rotate_through(void) {
    struct error err = {0};
    must(ca_begin_rotation(fleet.ca, &err), &err);
    must(ca_switch(fleet.ca, &err), &err);
    must(ca_end_rotation(fleet.ca, &err), &err);
}

static void engines_that_know_the_root_before_take_certificates_of_registry_ports(void **state) {
    (void)state;
    char path[200];
    X509 *first = ca_root(fleet.ca, CA_ROOT);
    X509_up_ref(first);
    assert_true(engine_takes_it(first));
    rotate_through();
    fleet_close();
    fleet_open();
    X509 *second = ca_root(fleet.ca, CA_ROOT);
    X509_up_ref(second);
    assert_true(X509_cmp(first, second) != 0 && engine_takes_it(first) && engine_takes_it(second));
    rotate_through();
    assert_true(engine_takes_it(second) && engine_takes_it(ca_root(fleet.ca, CA_ROOT)));
    assert_false(engine_takes_it(first));
    /* With the root's key elsewhere there is nobody who could say so; nor does what was said of another root stay. */
    snprintf(path, sizeof(path), "%s/identity/root.key.pem", fleet.dir);
    assert_int_equal(unlink(path), 0);
    X509 *third = ca_root(fleet.ca, CA_ROOT);
    rotate_through();
    assert_false(engine_takes_it(second) || engine_takes_it(third));
    assert_true(engine_takes_it(ca_root(fleet.ca, CA_ROOT)));
    X509_free(first);
    X509_free(second);
}

static void every_step_outlives_a_restart(void **state) {
    (void)state;
    struct error err = {0};
    EVP_PKEY *key = key_make();
    X509 *before = certificate("a", key);
    must(ca_begin_rotation(fleet.ca, &err), &err);
    fleet_close();
    fleet_open();
    assert_int_equal(ca_state(fleet.ca), CA_SPREADING);
    must(ca_switch(fleet.ca, &err), &err);
    fleet_close();
    fleet_open();
    assert_int_equal(ca_state(fleet.ca), CA_RETIRING);
    assert_true(is_trusted(before));
    assert_true(ca_has_key(fleet.ca, CA_ROOT));
    must(ca_end_rotation(fleet.ca, &err), &err);
    fleet_close();
    fleet_open();
    assert_int_equal(ca_state(fleet.ca), CA_STEADY);
    assert_false(is_trusted(before));
    X509_free(before);
    EVP_PKEY_free(key);
}

static void copy_file(const char *from, const char *to) {
    char command[400];
    snprintf(command, sizeof(command), "cp %s/identity/%s %s/identity/%s", fleet.dir, from, fleet.dir, to);
    assert_int_equal(system(command), 0);
}

/* All that a crash may leave: the old root is noted, and each file after it may be in place or not. */
static void switch_that_a_crash_has_cut_is_finished_at_the_start(void **state) {
    (void)state;
    struct error err = {0};
    EVP_PKEY *key = key_make();
    X509 *before = certificate("a", key);
    for (unsigned moved = 0; moved <= 2; moved++) {
        must(ca_begin_rotation(fleet.ca, &err), &err);
        X509 *next = X509_dup(ca_root(fleet.ca, CA_NEXT));
        copy_file("root.pem", "retired.pem");
        if (moved > 0) copy_file("next-signer.pem", "signer.pem");
        if (moved > 1) copy_file("next.pem", "root.pem");
        fleet_close();
        fleet_open();
        assert_int_equal(ca_state(fleet.ca), CA_RETIRING);
        assert_int_equal(X509_cmp(ca_root(fleet.ca, CA_ROOT), next), 0);
        X509 *after = certificate("a", key);
        assert_true(is_trusted(after));
        must(ca_end_rotation(fleet.ca, &err), &err);
        X509_free(after);
        X509_free(next);
    }
    X509_free(before);
    EVP_PKEY_free(key);
}

static void lost_authority_is_made_anew_by_the_standby_roots_key(void **state) {
    (void)state;
    struct error err = {0};
    char file[200], other[] = "/tmp/entrepot-anew-XXXXXX", id[FLEET_ID_MAX];
    EVP_PKEY *key = key_make();
    X509 *before = certificate("a", key), *standby = X509_dup(ca_root(fleet.ca, CA_STANDBY)),
         *signer = X509_dup(ca_signer(fleet.ca));
    snprintf(file, sizeof(file), "%s/standby", fleet.dir);
    memcpy(id, ca_fleet(fleet.ca), sizeof(id));
    must(ca_export_standby(fleet.dir, file, &err), &err);
    assert_int_equal(ca_export_standby(fleet.dir, file, &err), ERR_NOT_FOUND);
    assert_false(ca_has_key(fleet.ca, CA_STANDBY));
    assert_int_equal(ca_recover(fleet.dir, NULL, file, 90 * DAY, &err), ERR_BUSY);
    assert_non_null(mkdtemp(other));
    must(ca_recover(other, NULL, file, 90 * DAY, &err), &err);
    struct ca *anew;
    must(ca_open(&anew, other, NULL, &err), &err);
    assert_string_equal(ca_fleet(anew), id);
    assert_int_equal(X509_cmp(ca_root(anew, CA_ROOT), standby), 0);
    assert_int_equal(ca_state(anew), CA_RETIRING);
    assert_int_equal(ca_retired_until(anew), START + 90 * DAY);
    STACK_OF(X509) *roots = ca_trusted(anew), *chain = sk_X509_new_null();
    sk_X509_push(chain, signer); /* an edge sends its signer along */
    assert_true(chain_is_good(before, chain, roots));
    sk_X509_free(roots);
    sk_X509_free(chain);
    ca_close(anew);
    X509_free(before);
    X509_free(standby);
    X509_free(signer);
    EVP_PKEY_free(key);
    assert_int_equal(folder_remove(other), 0);
}

/* --- when it may go on --- */

static void rotation_waits_for_all_that_are_not_removed(void **state) {
    (void)state;
    struct edge_facts list[2] = {{.name = "a", .state = EDGE_ACTIVE, .roots = 7, .shown = 3},
                                 {.name = "b", .state = EDGE_QUARANTINED, .roots = 6, .shown = 2}};
    assert_false(rotation_may_go_on(CA_STEADY, list, 0, 7, 3, 0, START));
    assert_true(rotation_may_go_on(CA_SPREADING, list, 1, 7, 3, 0, START));
    assert_true(rotation_may_go_on(CA_SPREADING, list, 0, 7, 3, 0, START)); /* a fleet without edges */
    assert_false(rotation_may_go_on(CA_SPREADING, list, 2, 7, 3, 0, START));
    assert_false(rotation_may_go_on(CA_RETIRING, list, 2, 7, 3, 0, START));
    assert_non_null(strstr(rotation_lacks(CA_SPREADING, &list[1], 7, 3), "new root"));
    assert_non_null(strstr(rotation_lacks(CA_RETIRING, &list[1], 7, 3), "old root"));
    list[1].state = EDGE_REMOVED;
    assert_true(rotation_may_go_on(CA_SPREADING, list, 2, 7, 3, 0, START));
    assert_true(rotation_may_go_on(CA_RETIRING, list, 2, 7, 3, 0, START));
    assert_false(rotation_may_go_on(CA_RETIRING, list, 2, 7, 3, START + 1, START)); /* a central made anew */
}

static void what_edges_trust_is_known_after_a_restart(void **state) {
    (void)state;
    struct error err;
    struct edge_facts f;
    X509 *cert;
    EVP_PKEY *key = key_make();
    fleet_invite("s", "shanghai", "", 1);
    assert_int_equal(fleet_join("s", key, "", &cert, &f, &err), 0);
    const struct edge_sight s = {.generation = 1, .key = f.key, .instance = 1, .version = "1", .roots = ~0ULL - 5};
    assert_int_equal(roster_admit(fleet.roster, roster_find(fleet.roster, f.name), &s, &err), 0);
    workpool_wait_idle(fleet.pool);
    fleet_close();
    fleet_open();
    assert_true(roster_get(fleet.roster, "shanghai-1", &f));
    assert_true(f.roots == s.roots);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* --- removals --- */

static struct wire_fleet_state removals(void) {
    struct wire_fleet_state m = {0};
    struct error err = {0};
    must(roster_removals(fleet.roster, &m, &err), &err);
    return m;
}

static int check(const struct wire_fleet_state *m, size_t i, struct error *err) {
    STACK_OF(X509) *roots = ca_trusted(fleet.ca);
    const struct wire_removal *r = &m->removals[i];
    int code = attest_check(roots, ca_fleet(fleet.ca), ca_signer(fleet.ca), r->body.data, r->body.len,
                            r->signature.data, r->signature.len, err);
    sk_X509_free(roots);
    return code;
}

static void removal_is_signed_and_no_byte_of_it_may_change(void **state) {
    (void)state;
    struct error err = {0};
    struct edge_facts f;
    X509 *cert;
    EVP_PKEY *key = key_make();
    roster_attests();
    fleet_invite("s", "shanghai", "", 1);
    assert_int_equal(fleet_join("s", key, "", &cert, &f, &err), 0);
    must(roster_remove(fleet.roster, "shanghai-1", &err), &err);
    struct wire_fleet_state m = removals();
    assert_int_equal(m.n_removals, 1);
    assert_int_equal(m.n_signers, 1);
    must(check(&m, 0, &err), &err);
    for (size_t i = 0; i < m.removals[0].body.len; i++) {
        m.removals[0].body.data[i] ^= 1;
        assert_int_equal(check(&m, 0, &err), ERR_DENIED);
        m.removals[0].body.data[i] ^= 1;
    }
    /* Signed by the edge itself, or by the authority of another fleet. */
    uint8_t *own;
    size_t len;
    STACK_OF(X509) *roots = ca_trusted(fleet.ca);
    attest_sign(key, "x", 1, &own, &len);
    assert_int_equal(attest_check(roots, ca_fleet(fleet.ca), cert, "x", 1, own, len, &err), ERR_DENIED);
    assert_non_null(strstr(err.msg, "not an authority"));
    assert_int_equal(
        attest_check(roots, "00000000-0000-4000-8000-000000000000", ca_signer(fleet.ca), "x", 1, own, len, &err),
        ERR_DENIED);
    free(own);
    sk_X509_free(roots);
    set_time(START + 121 * DAY); /* its certificate has ended, and the time to renew it as well */
    wire_fleet_state_fini(&m);
    m = removals();
    assert_int_equal(m.n_removals, 0);
    wire_fleet_state_fini(&m);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int take(const struct wire_fleet_state *m) {
    struct error err = {0};
    int r = roster_take_removal(fleet.roster, &m->removals[0], ca_signer(fleet.ca), &err);
    if (r < 0) fail_msg("%s", err.msg);
    return r;
}

/* Puts fleet.db back to what it was when it was saved. */
static void save_records(void) {
    char command[300];
    snprintf(command, sizeof(command), "cp %s/fleet.db %s/saved", fleet.dir, fleet.dir);
    assert_int_equal(system(command), 0);
}
static void restore_records(void) {
    char command[300];
    roster_close(fleet.roster);
    fleet.roster = NULL;
    snprintf(command, sizeof(command), "cp %s/saved %s/fleet.db", fleet.dir, fleet.dir);
    assert_int_equal(system(command), 0);
    struct error err = {0};
    const struct roster_config rc = {.data = fleet.dir,
                                     .pool = fleet.pool,
                                     .lifetime_s = 30 * DAY,
                                     .rejoin_window_s = 90 * DAY,
                                     .sign = fleet_sign,
                                     .attest = attest,
                                     .fleet = ca_fleet(fleet.ca)};
    must(roster_open(&fleet.roster, &rc, &err), &err);
}

static void join_as(const char *secret, const char *replaces, EVP_PKEY *key) {
    struct edge_facts f;
    struct error err;
    X509 *cert;
    fleet_invite(secret, "shanghai", replaces, 1);
    if (fleet_join(secret, key, "", &cert, &f, &err) < 0) fail_msg("%s", err.msg);
    X509_free(cert);
}

static enum edge_state state_of(const char *name) {
    struct edge_facts f;
    assert_true(roster_get(fleet.roster, name, &f));
    return f.state;
}

static void forgotten_removal_is_taken_again_and_a_new_key_of_that_name_stands(void **state) {
    (void)state;
    struct error err = {0};
    EVP_PKEY *a = key_make(), *b = key_make(), *c = key_make();
    roster_attests();
    save_records(); /* nobody has joined */
    join_as("s", "", a);
    must(roster_remove(fleet.roster, "shanghai-1", &err), &err);
    struct wire_fleet_state m = removals();
    assert_int_equal(take(&m), 0); /* it is known */
    restore_records();
    assert_int_equal(take(&m), 1); /* an edge that these records never knew */
    assert_int_equal(state_of("shanghai-1"), EDGE_REMOVED);
    assert_int_equal(take(&m), 0);
    join_as("t", "shanghai-1", b);
    assert_int_equal(state_of("shanghai-1"), EDGE_ACTIVE);
    save_records();
    must(roster_remove(fleet.roster, "shanghai-1", &err), &err);
    struct wire_fleet_state second = removals();
    restore_records();
    assert_int_equal(state_of("shanghai-1"), EDGE_ACTIVE);
    for (size_t i = 0; i < second.n_removals; i++) {
        int r = roster_take_removal(fleet.roster, &second.removals[i], ca_signer(fleet.ca), &err);
        if (r < 0) fail_msg("%s", err.msg);
    }
    assert_int_equal(state_of("shanghai-1"), EDGE_REMOVED);
    join_as("u", "shanghai-1", c);
    for (size_t i = 0; i < second.n_removals; i++)
        assert_int_equal(roster_take_removal(fleet.roster, &second.removals[i], ca_signer(fleet.ca), &err), 0);
    assert_int_equal(state_of("shanghai-1"), EDGE_ACTIVE);
    wire_fleet_state_fini(&m);
    wire_fleet_state_fini(&second);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
    EVP_PKEY_free(c);
}

static void newer_key_of_a_name_is_taken_after_an_older_backup(void **state) {
    (void)state;
    struct error err = {0};
    struct edge_facts old, fresh;
    EVP_PKEY *a = key_make(), *b = key_make();
    join_as("s", "", a);
    assert_true(roster_get(fleet.roster, "shanghai-1", &old));
    save_records();
    join_as("t", "shanghai-1", b);
    assert_true(roster_get(fleet.roster, "shanghai-1", &fresh));
    restore_records();
    struct edge *e = roster_find(fleet.roster, "shanghai-1");
    const struct edge_sight new_one = {.generation = fresh.generation, .key = fresh.key, .version = "1"};
    const struct edge_sight old_one = {.generation = old.generation, .key = old.key, .version = "1"};
    assert_int_equal(roster_admit(fleet.roster, e, &old_one, &err), 0); /* these records know no other */
    assert_int_equal(roster_admit(fleet.roster, e, &new_one, &err), 0);
    assert_int_equal(roster_admit(fleet.roster, e, &old_one, &err), ERR_DENIED);
    assert_int_equal(roster_admit(fleet.roster, e, &new_one, &err), 0);
    workpool_wait_idle(fleet.pool);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

int main(void) {
#define IN_FLEET(t) cmocka_unit_test_setup_teardown(t, fleet_setup, fleet_teardown)
    const struct CMUnitTest tests[] = {
        IN_FLEET(new_root_signs_after_the_switch_and_the_old_one_leaves_last),
        IN_FLEET(engines_that_know_the_root_before_take_certificates_of_registry_ports),
        IN_FLEET(every_step_outlives_a_restart),
        IN_FLEET(switch_that_a_crash_has_cut_is_finished_at_the_start),
        IN_FLEET(lost_authority_is_made_anew_by_the_standby_roots_key),
        cmocka_unit_test(rotation_waits_for_all_that_are_not_removed),
        IN_FLEET(what_edges_trust_is_known_after_a_restart),
        IN_FLEET(removal_is_signed_and_no_byte_of_it_may_change),
        IN_FLEET(forgotten_removal_is_taken_again_and_a_new_key_of_that_name_stands),
        IN_FLEET(newer_key_of_a_name_is_taken_after_an_older_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
