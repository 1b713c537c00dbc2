/* What an edge answers to DNS queries by what central tells it, by what is on its disk, and by its own probes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "common/core/file.h"
#include "edge/dns/kept.h"
#include "tests/unit/support/answering_fixture.h"
#include "tests/unit/support/scripted_server.h"

enum { BEGIN_MS = 100000, BEGIN_S = 1000000, STALE_FOR_S = 3600, LARGE = 60 };

static char dir[64], path[96];
static struct workpool *pool;
static struct script_server registry;
static struct answering_zone one, two, large, twice;
static struct answering *answering;

static bool answer(struct script_server *s, int fd, const char *head) {
    (void)s, (void)head;
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    return false;
}

/* The registry at 127.0.0.1 answers, and that at 127.0.0.2 does not listen. */
static const char *const of_one[] = {ANSWERING_ZONE,
                                     "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: "
                                     "10.1.0.1}]}, {name: here, networks: [10.9.0.0/16],"
                                     " edges: [{name: a, address: 127.0.0.1}, {name: b, address: 127.0.0.2}]}]",
                                     NULL};
static const char *const of_two[] = {
    ANSWERING_ZONE, "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: 10.1.0.2}]}]", NULL};

/* near has one edge, and another site the rest. */
static void large_init(void) {
    char sites[LARGE * 40 + 200];
    size_t len = (size_t)snprintf(sites, sizeof(sites),
                                  "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: 10.1.0.3}]},"
                                  " {name: far, networks: [10.8.0.0/16], edges: [");
    for (int i = 1; i < LARGE; i++)
        len += (size_t)snprintf(sites + len, sizeof(sites) - len, "{name: e%d, address: 10.8.0.%d}, ", i, i);
    snprintf(sites + len, sizeof(sites) - len, "]}]");
    const char *const sets[] = {ANSWERING_ZONE, sites, NULL};
    answering_zone_init(&large, 5000, sets);
}

/* A message that is well-formed, of which no zone can be made: a site has a name that is taken. */
static void twice_init(void) {
    answering_zone_init(&twice, 5000, of_one);
    for (size_t i = 0; i + 4 < twice.len; i++)
        if (memcmp(twice.message + i, "here", 4) == 0) memcpy(twice.message + i, "near", 4);
}

static int set_up_all(void **state) {
    (void)state;
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    script_start(&registry, answer, NULL);
    answering_zone_init(&one, registry.port, of_one);
    answering_zone_init(&two, registry.port, of_two);
    large_init();
    twice_init();
    return 0;
}

static int tear_down_all(void **state) {
    (void)state;
    free(one.message);
    free(two.message);
    free(large.message);
    free(twice.message);
    script_stop(&registry);
    return 0;
}

static void begin(void) {
    answering = answering_start_at(path, STALE_FOR_S * 1000, pool);
}

static void end_it(void) {
    answering_free(answering);
    answering = NULL;
}

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/answering-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof(path), "%s/dns.state", dir);
    clock_set_fake(BEGIN_MS, BEGIN_S);
    atomic_store(&answering_heard, -1);
    pool = workpool_new("work", 1);
    begin();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    answering_free(answering);
    workpool_free(pool);
    clock_set_fake(-1, 0);
    return folder_remove(dir);
}

static const char *now(const char *name) {
    static char text[IP_TEXT_MAX];
    const char *said = answering_ask(answering, name, text);
    assert_non_null(said);
    return said;
}

static void await(const char *name, const char *wanted) {
    while (strcmp(now(name), wanted) != 0)
        usleep(1000);
}

static void tell(const struct answering_zone *z, size_t n) {
    answering_tell(answering, z, true, answering_good, n);
}

static bool is_live(const char **problem) {
    static char text[100];
    json_t *doc = answering_json(answering), *source = json_object_get(doc, "source");
    bool live = json_is_true(json_object_get(source, "live"));
    snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(source, "problem")));
    json_decref(doc);
    if (problem) *problem = text;
    return live;
}

/* Central is not heard from this moment on, and what follows from it is decided. */
static void fall_silent(int64_t wall_s) {
    unsigned before = atomic_load(&answering_asked);
    atomic_store(&answering_heard, BEGIN_MS);
    clock_set_fake(BEGIN_MS + 10000, wall_s);
    while (is_live(NULL) || atomic_load(&answering_asked) < before + 3)
        usleep(1000);
}

static void be_heard(void) {
    atomic_store(&answering_heard, -1);
}

static void nothing_is_answered_before_central_has_told_its_zone(void **state) {
    (void)state;
    const char *problem;
    assert_string_equal(now("registry"), "code 2");
    assert_int_equal(answering_kept_version(answering), 0);
    assert_false(is_live(&problem));
    assert_string_equal(problem, "central has not told its zone yet");
    assert_null(answering_facts(answering, "near", "near-1"));
    answering_tell(answering, &one, false, answering_good, 3); /* the states alone are of no use */
    tell(&one, 3);
    await("registry", "10.1.0.1");
    assert_true(is_live(&problem));
    assert_string_equal(problem, "");
}

static void answers_follow_states_and_zones(void **state) {
    (void)state;
    static const uint8_t silent[] = {DNS_EDGE_SILENT, DNS_EDGE_GOOD, DNS_EDGE_SILENT};
    tell(&one, 3);
    await("registry", "10.1.0.1");
    answering_tell(answering, &one, false, silent, sizeof(silent));
    await("registry", "10.0.0.1"); /* central's */
    assert_string_equal(now("here"), "127.0.0.1");
    tell(&large, 0); /* a zone without the states of its edges is no news */
    tell(&two, 1);
    await("registry", "10.1.0.2");
    assert_string_equal(now("here"), "code 3");
    answering_tell(answering, &one, false, answering_good, 3); /* of the zone before: too late */
    answering_tell(answering, &two, false, answering_good, 1);
    await("registry", "10.1.0.2");
}

/* The present answers stay, whatever it is, and the next good word counts. */
static void refuses(const struct answering_zone *before, size_t n, const struct answering_zone *bad, bool whole,
                    const uint8_t *states, size_t n_states) {
    char stays[IP_TEXT_MAX];
    snprintf(stays, sizeof(stays), "%s", now("registry"));
    answering_tell(answering, bad, whole, states, n_states);
    while (is_live(NULL)) /* what it says is not taken for central's word */
        usleep(1000);
    assert_string_equal(now("registry"), stays);
    if (!before) return;
    tell(before, n);
    while (!is_live(NULL))
        usleep(1000);
    assert_string_equal(now("registry"), stays);
}

static void refuses_each(const struct answering_zone *before, size_t n) {
    static const uint8_t rubbish[] = "this is no message";
    uint8_t bad[LARGE], good[LARGE];
    struct answering_zone none = {.message = one.message, .len = 0}, cut = {one.message, one.len - 5};
    struct answering_zone no_message = {.message = (uint8_t *)(uintptr_t)rubbish, .len = sizeof(rubbish)};
    struct answering_zone huge = {xcalloc(1, DNS_ZONE_MESSAGE_MAX + 1), DNS_ZONE_MESSAGE_MAX + 1};
    memset(good, DNS_EDGE_GOOD, sizeof(good));
    memset(bad, DNS_EDGE_GOOD, sizeof(bad));
    bad[0] = DNS_EDGE_BARRED + 1;
    refuses(before, n, &no_message, true, good, 1);
    refuses(before, n, &none, true, good, 0);
    refuses(before, n, &cut, true, good, 3);
    refuses(before, n, &huge, true, good, 1);
    refuses(before, n, &twice, true, good, 3);
    refuses(before, n, &one, true, good, 2);
    refuses(before, n, &one, true, good, 4);
    refuses(before, n, &one, true, bad, 3);
    refuses(before, n, &two, true, bad, 1);
    refuses(before, n, &large, true, bad, LARGE);
    refuses(before, n, &large, true, good, LARGE - 1);
    free(huge.message);
}

/* States of a zone that is not the one before. */
static void refuses_states_of_the_large_one(const struct answering_zone *before, size_t n) {
    uint8_t good[LARGE];
    memset(good, DNS_EDGE_GOOD, sizeof(good));
    refuses(before, n, &large, false, good, LARGE);
}

static void a_zone_that_is_not_sound_is_refused_before_there_is_one(void **state) {
    (void)state;
    refuses_each(NULL, 0);
    refuses_states_of_the_large_one(NULL, 0);
    assert_string_equal(now("registry"), "code 2");
    tell(&one, 3);
    await("registry", "10.1.0.1");
}

static void a_zone_that_is_not_sound_leaves_the_small_one_before(void **state) {
    (void)state;
    tell(&two, 1);
    await("registry", "10.1.0.2");
    refuses_each(&two, 1);
    refuses_states_of_the_large_one(&two, 1);
    refuses(&two, 1, &two, false, answering_good, 2);
}

static void a_zone_that_is_not_sound_leaves_the_large_one_before(void **state) {
    (void)state;
    uint8_t good[LARGE];
    memset(good, DNS_EDGE_GOOD, sizeof(good));
    answering_tell(answering, &large, true, good, LARGE);
    await("registry", "10.1.0.3");
    refuses_each(NULL, 0);
    assert_string_equal(now("registry"), "10.1.0.3");
    tell(&two, 1);
    await("registry", "10.1.0.2");
}

static void central_is_borne_silent_for_stale_for(void **state) {
    (void)state;
    const char *problem;
    tell(&one, 3);
    await("registry", "10.1.0.1");
    fall_silent(BEGIN_S + STALE_FOR_S);
    assert_string_equal(now("registry"), "10.1.0.1");
    clock_set_fake(BEGIN_MS + 10000, BEGIN_S + STALE_FOR_S + 1);
    await("registry", "code 2");
    while (is_live(&problem), !strstr(problem, "stale_for"))
        usleep(1000);
    be_heard();
    await("registry", "10.1.0.1"); /* by the zone that it has */
    assert_true(is_live(&problem));
    assert_string_equal(problem, "");
}

static void a_clock_that_is_put_back_makes_nothing_stale(void **state) {
    (void)state;
    tell(&one, 3);
    await("registry", "10.1.0.1");
    fall_silent(5);
    assert_string_equal(now("registry"), "10.1.0.1");
}

static void central_counts_as_silent_when_no_stream_follows_the_one_that_has_ended(void **state) {
    (void)state;
    tell(&one, 3);
    await("registry", "10.1.0.1");
    answering_told(answering, NULL);
    for (int64_t ms = BEGIN_MS; is_live(NULL); ms += 100) {
        clock_set_fake(ms, BEGIN_S);
        usleep(1000);
    }
    assert_string_equal(now("registry"), "10.1.0.1");
    answering_tell(answering, &one, false, answering_good, 3);
    while (!is_live(NULL))
        usleep(1000);
}

/* Central has named only the edge of this site that does not listen any more. */
static void edges_of_this_site_are_judged_by_probes_while_central_is_silent(void **state) {
    (void)state;
    static const uint8_t said[] = {DNS_EDGE_GOOD, DNS_EDGE_SILENT, DNS_EDGE_GOOD};
    static const uint8_t barred[] = {DNS_EDGE_GOOD, DNS_EDGE_BARRED, DNS_EDGE_GOOD};
    answering_tell(answering, &one, true, said, sizeof(said));
    await("here", "127.0.0.2");
    fall_silent(BEGIN_S + 10);
    await("here", "127.0.0.1");
    assert_string_equal(now("registry"), "10.1.0.1");
    be_heard();
    await("here", "127.0.0.2");
    answering_tell(answering, &one, false, barred, sizeof(barred));
    clock_set_fake(BEGIN_MS, BEGIN_S);
    fall_silent(BEGIN_S + 10);
    await("here", "10.0.0.1"); /* nobody is left but central */
}

static void the_first_answer_after_a_restart_is_right(void **state) {
    (void)state;
    static const uint8_t silent[] = {DNS_EDGE_SILENT, DNS_EDGE_GOOD, DNS_EDGE_SILENT};
    answering_tell(answering, &one, true, silent, sizeof(silent));
    await("registry", "10.0.0.1");
    end_it();
    begin();
    assert_string_equal(now("registry"), "10.0.0.1");
    assert_int_equal(answering_kept_version(answering), answering_zone_version(&one));
    answering_tell(answering, &one, false, answering_good, 3);
    await("registry", "10.1.0.1");
}

static void what_is_on_the_disk_is_not_used_after_stale_for(void **state) {
    (void)state;
    tell(&one, 3);
    await("registry", "10.1.0.1");
    end_it();
    clock_set_fake(BEGIN_MS, BEGIN_S + STALE_FOR_S + 1);
    begin();
    assert_string_equal(now("registry"), "code 2");
    assert_int_equal(answering_kept_version(answering), answering_zone_version(&one));
    answering_tell(answering, &one, false, answering_good, 3); /* the zone itself need not come again */
    await("registry", "10.1.0.1");
}

static void begins_with_nothing(void) {
    begin();
    assert_int_equal(answering_kept_version(answering), 0);
    assert_string_equal(now("registry"), "code 2");
    end_it();
}

static void a_damaged_file_counts_as_none(void **state) {
    (void)state;
    struct error err = {0};
    char *data;
    size_t len;
    tell(&one, 3);
    await("registry", "10.1.0.1");
    end_it();
    assert_int_equal(file_read_all(path, 65536, &data, &len, &err), 0);
    for (size_t at = 0; at < len; at += len / 8) {
        data[at] ^= 1;
        assert_int_equal(file_write_atomic(path, 0600, data, len, &err), 0);
        data[at] ^= 1;
        begins_with_nothing();
        assert_int_equal(file_write_atomic(path, 0600, data, at, &err), 0);
        begins_with_nothing();
    }
    free(data);
    begin();
}

static void a_file_whose_states_are_not_of_its_zone_counts_as_none(void **state) {
    (void)state;
    uint8_t states[LARGE], reached[LARGE] = {0}, rubbish[] = "no zone";
    struct dns_kept k = {.zone = one.message,
                         .zone_len = one.len,
                         .zone_version = answering_zone_version(&one),
                         .states = states,
                         .reached = reached,
                         .n = 2,
                         .heard_at = BEGIN_S};
    memset(states, DNS_EDGE_GOOD, sizeof(states));
    end_it();
    dns_kept_write(&k, path);
    begins_with_nothing();
    k.n = LARGE;
    dns_kept_write(&k, path);
    begins_with_nothing();
    k.n = 3;
    states[1] = DNS_EDGE_BARRED + 1;
    dns_kept_write(&k, path);
    begins_with_nothing();
    states[1] = DNS_EDGE_GOOD;
    k.zone = rubbish;
    k.zone_len = sizeof(rubbish);
    dns_kept_write(&k, path);
    begins_with_nothing();
    k.zone = one.message;
    k.zone_len = one.len;
    dns_kept_write(&k, path); /* and this one is good */
    begin();
    assert_string_equal(now("registry"), "10.1.0.1");
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(nothing_is_answered_before_central_has_told_its_zone),
        EACH_ANEW(answers_follow_states_and_zones),
        EACH_ANEW(a_zone_that_is_not_sound_is_refused_before_there_is_one),
        EACH_ANEW(a_zone_that_is_not_sound_leaves_the_small_one_before),
        EACH_ANEW(a_zone_that_is_not_sound_leaves_the_large_one_before),
        EACH_ANEW(central_is_borne_silent_for_stale_for),
        EACH_ANEW(a_clock_that_is_put_back_makes_nothing_stale),
        EACH_ANEW(central_counts_as_silent_when_no_stream_follows_the_one_that_has_ended),
        EACH_ANEW(edges_of_this_site_are_judged_by_probes_while_central_is_silent),
        EACH_ANEW(the_first_answer_after_a_restart_is_right),
        EACH_ANEW(what_is_on_the_disk_is_not_used_after_stale_for),
        EACH_ANEW(a_damaged_file_counts_as_none),
        EACH_ANEW(a_file_whose_states_are_not_of_its_zone_counts_as_none),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
