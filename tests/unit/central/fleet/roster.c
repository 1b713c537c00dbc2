/* Who joins, renews and is admitted, and what becomes of copies. */
#include "tests/unit/central/fleet/fleet.h"

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

/* An edge as it sees itself. */
struct edge_side {
    EVP_PKEY *key;
    struct member who;
    uint64_t instance;
    const char *from; /* its address; NULL: none */
};

static void take(struct edge_side *e, X509 *cert) {
    struct error err = {0};
    assert_non_null(cert);
    assert_int_equal(member_of(&e->who, cert, &err), 0);
    X509_free(cert);
}

static struct edge_side join(const char *secret) {
    struct edge_side e = {.key = key_make(), .instance = 1};
    struct edge_facts f;
    struct error err;
    X509 *cert;
    if (fleet_join(secret, e.key, "", &cert, &f, &err) < 0) fail_msg("%s", err.msg);
    take(&e, cert);
    return e;
}

static int renew(struct edge_side *e, const char *id, struct error *err) {
    X509 *cert = NULL;
    *err = (struct error){0};
    int r = roster_renew(fleet.roster, roster_find(fleet.roster, e->who.name), e->who.generation, (const uint8_t *)id,
                         e->key, &cert, err);
    if (r == 0) take(e, cert);
    return r;
}

static int knock(const struct edge_side *e, struct error *err) {
    struct ip from;
    *err = (struct error){0};
    assert_true(!e->from || ip_parse(&from, e->from, strlen(e->from)));
    const struct edge_sight s = {.generation = e->who.generation,
                                 .key = e->who.key,
                                 .instance = e->instance,
                                 .address = e->from ? &from : NULL,
                                 .version = "1"};
    return roster_admit(fleet.roster, roster_find(fleet.roster, e->who.name), &s, err);
}

static void admits(const struct edge_side *e) {
    struct error err;
    if (knock(e, &err) < 0) fail_msg("%s", err.msg);
}

static void refuses(const struct edge_side *e, const char *says) {
    struct error err;
    assert_int_equal(knock(e, &err), ERR_DENIED);
    has(err.msg, says);
}

static void end(struct edge_side *e) {
    EVP_PKEY_free(e->key);
}

#define ID_A "aaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbb"

/* --- joining --- */

static void edge_joins_with_the_name_of_its_site_and_a_number(void **state) {
    (void)state;
    fleet_invite("s", "shanghai", "", 2);
    struct edge_side a = join("s"), b = join("s");
    assert_string_equal(a.who.name, "shanghai-1");
    assert_string_equal(b.who.name, "shanghai-2");
    assert_string_equal(a.who.site, "shanghai");
    assert_string_equal(a.who.fleet, ca_fleet(fleet.ca));
    assert_int_equal(a.who.generation, 1);
    assert_int_equal(a.who.not_before, START - 3600);
    assert_int_equal(a.who.not_after, START + 30 * DAY);
    admits(&a);
    end(&a);
    end(&b);
}

static void used_expired_and_unknown_tokens_are_told_apart(void **state) {
    (void)state;
    struct edge_facts f;
    struct error err;
    X509 *cert;
    EVP_PKEY *key = key_make();
    fleet_invite("once", "shanghai", "", 1);
    fleet_invite("late", "shanghai", "", 1);
    struct edge_side a = join("once");
    assert_int_equal(fleet_join("once", key, "", &cert, &f, &err), ERR_DENIED);
    has(err.msg, "used already: shanghai-1");
    has(err.hint, "edge invite --site shanghai");
    assert_int_equal(fleet_join("other", key, "", &cert, &f, &err), ERR_DENIED);
    has(err.msg, "knows no such token");
    set_time(START + 3601);
    assert_int_equal(fleet_join("late", key, "", &cert, &f, &err), ERR_DENIED);
    has(err.msg, "has expired on");
    EVP_PKEY_free(key);
    end(&a);
}

static void wrong_site_is_refused_and_the_token_stays_good(void **state) {
    (void)state;
    struct edge_facts f;
    struct error err;
    X509 *cert;
    EVP_PKEY *key = key_make();
    fleet_invite("s", "shanghai", "", 1);
    assert_int_equal(fleet_join("s", key, "berlin", &cert, &f, &err), ERR_INVALID);
    has(err.msg, "for the site shanghai");
    assert_int_equal(fleet_join("s", key, "shanghai", &cert, &f, &err), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void same_key_is_answered_again_after_a_restart(void **state) {
    (void)state;
    struct edge_facts f;
    struct error err;
    X509 *first, *again;
    EVP_PKEY *key = key_make();
    fleet_invite("s", "shanghai", "", 1);
    assert_int_equal(fleet_join("s", key, "", &first, &f, &err), 0);
    fleet_close();
    fleet_open();
    assert_int_equal(fleet_join("s", key, "", &again, &f, &err), 0);
    assert_int_equal(X509_cmp(first, again), 0);
    X509_free(first);
    X509_free(again);
    EVP_PKEY_free(key);
}

static void replaced_edge_keeps_its_name_and_only_the_new_key_counts(void **state) {
    (void)state;
    struct error err = {0};
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side old = join("s");
    fleet_invite("t", "shanghai", "shanghai-1", 1);
    struct edge_side fresh = join("t");
    assert_string_equal(fresh.who.name, "shanghai-1");
    assert_int_equal(fresh.who.generation, 2);
    admits(&fresh);
    refuses(&old, "has joined anew since, with another key");
    admits(&fresh);
    const struct invite wrong = {.site = "berlin", .replaces = "shanghai-1", .uses = 1, .expires_at = START + 9};
    assert_int_equal(roster_invite(fleet.roster, &wrong, "u", 1, &err), ERR_INVALID);
    const struct invite nobody = {.site = "berlin", .replaces = "berlin-1", .uses = 1, .expires_at = START + 9};
    assert_int_equal(roster_invite(fleet.roster, &nobody, "u", 1, &err), ERR_NOT_FOUND);
    end(&old);
    end(&fresh);
}

/* --- renewing --- */

static void renewal_counts_the_generation_and_keeps_the_key(void **state) {
    (void)state;
    struct error err;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s");
    uint8_t key[MEMBER_KEY_BYTES];
    memcpy(key, e.who.key, sizeof(key));
    set_time(START + 15 * DAY);
    assert_int_equal(renew(&e, ID_A, &err), 0);
    assert_int_equal(e.who.generation, 2);
    assert_int_equal(e.who.not_after, START + 45 * DAY);
    assert_memory_equal(e.who.key, key, sizeof(key));
    admits(&e);
    end(&e);
}

static void lost_answer_to_a_renewal_is_given_again_and_is_no_copy(void **state) {
    (void)state;
    struct error err;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s"), before = e;
    admits(&e);
    assert_int_equal(renew(&e, ID_A, &err), 0);
    admits(&before); /* the answer was lost, the edge was restarted, and goes on with what it has */
    before.instance = 2;
    admits(&before);
    assert_int_equal(renew(&before, ID_A, &err), 0);
    assert_int_equal(before.who.generation, 2);
    assert_int_equal(before.who.not_after, e.who.not_after);
    admits(&before);
    end(&e);
}

static void second_renewal_of_an_old_certificate_is_a_copy(void **state) {
    (void)state;
    struct error err;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s"), copy = e;
    assert_int_equal(renew(&e, ID_A, &err), 0);
    assert_int_equal(renew(&copy, ID_B, &err), ERR_DENIED);
    refuses(&e, "in quarantine");
    end(&e);
}

/* --- copies --- */

static void old_certificate_of_another_process_is_a_copy(void **state) {
    (void)state;
    struct error err;
    struct edge_facts f;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s"), old = e;
    assert_int_equal(renew(&e, ID_A, &err), 0);
    admits(&e);
    admits(&old); /* a connection that the same process opened before */
    old.instance = 9;
    refuses(&old, "an old certificate of it (generation 1, the newest is 2)");
    refuses(&e, "in quarantine until an operator says `edge allow`");
    assert_false(roster_may_stay(fleet.roster, roster_find(fleet.roster, "shanghai-1"), e.who.key));
    workpool_wait_idle(fleet.pool);
    fleet_close();
    fleet_open();
    refuses(&e, "in quarantine");
    assert_int_equal(roster_allow(fleet.roster, "shanghai-1", &err), 0);
    admits(&e);
    assert_true(roster_get(fleet.roster, "shanghai-1", &f) && f.state == EDGE_ACTIVE && !f.reason[0]);
    end(&e);
}

static void two_processes_by_turns_are_copies_and_restarts_are_not(void **state) {
    (void)state;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side a = join("s"), b = a;
    for (uint64_t i = 1; i < 50; i++) { /* restarts; a request of the process before may still come late */
        struct edge_side late = a;
        a.instance = i;
        admits(&a);
        late.instance = i > 1 ? i - 1 : i;
        admits(&late);
        admits(&a);
    }
    b.instance = 1000;
    admits(&b);
    admits(&a);
    admits(&b);
    refuses(&a, "two processes use its identity by turns");
    refuses(&b, "two processes");
    end(&a);
}

static void newer_certificate_than_the_records_know_is_taken(void **state) {
    (void)state;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s");
    e.who.generation = 7; /* central was put back from a backup */
    admits(&e);
    struct edge_facts f;
    assert_true(roster_get(fleet.roster, "shanghai-1", &f));
    assert_int_equal(f.generation, 7);
    end(&e);
}

static void certified_edge_that_the_records_lack_waits_for_allow(void **state) {
    (void)state;
    struct error err = {0};
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s");
    snprintf(e.who.name, sizeof(e.who.name), "shanghai-9");
    assert_non_null(roster_meet(fleet.roster, &e.who));
    refuses(&e, "records do not know it");
    assert_int_equal(roster_allow(fleet.roster, "shanghai-9", &err), 0);
    admits(&e);
    workpool_wait_idle(fleet.pool);
    end(&e);
}

/* --- what operators say --- */

static void removed_edge_stays_removed(void **state) {
    (void)state;
    struct error err = {0};
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s");
    admits(&e);
    struct edge *row = roster_find(fleet.roster, "shanghai-1");
    assert_true(roster_may_stay(fleet.roster, row, e.who.key));
    assert_int_equal(roster_remove(fleet.roster, "shanghai-1", &err), 0);
    assert_false(roster_may_stay(fleet.roster, row, e.who.key));
    refuses(&e, "was removed from the fleet");
    assert_int_equal(renew(&e, ID_A, &err), ERR_DENIED);
    assert_int_equal(roster_allow(fleet.roster, "shanghai-1", &err), ERR_INVALID);
    has(err.hint, "edge invite --replace shanghai-1");
    fleet_close();
    fleet_open();
    refuses(&e, "was removed");
    assert_int_equal(roster_remove(fleet.roster, "nobody", &err), ERR_NOT_FOUND);
    fleet_invite("t", "shanghai", "", 1);
    struct edge_side next = join("t");
    assert_string_equal(next.who.name, "shanghai-2"); /* a name is not given twice */
    end(&e);
    end(&next);
}

static void list_is_sorted_and_remembers_when_each_was_seen(void **state) {
    (void)state;
    struct edge_facts *list;
    fleet_invite("s", "shanghai", "", 1);
    fleet_invite("b", "berlin", "", 1);
    struct edge_side s = join("s"), b = join("b");
    set_time(START + 60);
    admits(&b);
    fleet_close();
    fleet_open();
    assert_int_equal(roster_list(fleet.roster, &list), 2);
    assert_string_equal(list[0].name, "berlin-1");
    assert_int_equal(list[0].seen_at, START + 60);
    assert_string_equal(list[0].version, "1");
    assert_string_equal(list[1].name, "shanghai-1");
    assert_int_equal(list[1].seen_at, 0);
    free(list);
    end(&s);
    end(&b);
}

static void assert_is_at(struct edge_side *e, const char *from, const char *says) {
    struct edge_facts f;
    e->from = from;
    admits(e);
    assert_true(roster_get(fleet.roster, e->who.name, &f));
    assert_string_equal(f.address, says);
}

static void the_address_shown_is_the_one_it_was_last_seen_at(void **state) {
    (void)state;
    fleet_invite("s", "shanghai", "", 1);
    struct edge_side e = join("s");
    assert_is_at(&e, "10.1.0.5", "10.1.0.5");
    assert_is_at(&e, "10.1.0.5", "10.1.0.5");
    assert_is_at(&e, "2001:db8::5", "2001:db8::5");
    assert_is_at(&e, NULL, "");
    assert_is_at(&e, "2001:db8::5", "2001:db8::5");
    fleet_invite("t", "shanghai", "shanghai-1", 1);
    struct edge_side fresh = join("t"); /* the row is another */
    assert_is_at(&fresh, "2001:db8::5", "2001:db8::5");
    workpool_wait_idle(fleet.pool);
    fleet_close();
    fleet_open();
    assert_is_at(&fresh, "10.1.0.6", "10.1.0.6");
    end(&e);
    end(&fresh);
}

int main(void) {
#define IN_FLEET(t) cmocka_unit_test_setup_teardown(t, fleet_setup, fleet_teardown)
    const struct CMUnitTest tests[] = {
        IN_FLEET(edge_joins_with_the_name_of_its_site_and_a_number),
        IN_FLEET(used_expired_and_unknown_tokens_are_told_apart),
        IN_FLEET(wrong_site_is_refused_and_the_token_stays_good),
        IN_FLEET(same_key_is_answered_again_after_a_restart),
        IN_FLEET(replaced_edge_keeps_its_name_and_only_the_new_key_counts),
        IN_FLEET(renewal_counts_the_generation_and_keeps_the_key),
        IN_FLEET(lost_answer_to_a_renewal_is_given_again_and_is_no_copy),
        IN_FLEET(second_renewal_of_an_old_certificate_is_a_copy),
        IN_FLEET(old_certificate_of_another_process_is_a_copy),
        IN_FLEET(two_processes_by_turns_are_copies_and_restarts_are_not),
        IN_FLEET(newer_certificate_than_the_records_know_is_taken),
        IN_FLEET(certified_edge_that_the_records_lack_waits_for_allow),
        IN_FLEET(removed_edge_stays_removed),
        IN_FLEET(the_address_shown_is_the_one_it_was_last_seen_at),
        IN_FLEET(list_is_sorted_and_remembers_when_each_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
