/* Pass-through within its budget: slowed or refused, never over it and never wrong. */
#include "tests/unit/common/fill/world.h"

#include "common/core/budget.h"

#include <dirent.h>
#include <sys/stat.h>

#define MANY 8
#define SIZE (20 * MB)

static struct budget_state pass_through(void) {
    struct budget_state s;
    budget_read(BUDGET_PASS_THROUGH, &s);
    return s;
}

/* What the memory files of this process take. */
static int64_t memory_files(void) {
    int64_t bytes = 0;
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(fds);
    for (struct dirent *e; (e = readdir(fds));) {
        char link[64] = {0};
        struct stat st;
        if (readlinkat(dirfd(fds), e->d_name, link, sizeof(link) - 1) < 0 || !strstr(link, "memfd:entrepot-fill"))
            continue;
        if (fstatat(dirfd(fds), e->d_name, &st, 0) == 0) bytes += st.st_blocks * 512;
    }
    closedir(fds);
    return bytes;
}

static void takes_nothing(struct fill_reader *r, void *arg) {
    ((struct taker *)arg)->r = r;
}

static void begin_and_take_nothing(void *arg) {
    struct taker *t = arg;
    t->r = fill_attach(world.engine, &t->spec, takes_nothing, t);
}

/* It asks anew before it leaves: a fill that nobody reads may end at once, and the next one would be refused. */
static void turn_away(void *arg) {
    struct taker *t = arg;
    struct fill_reader *idle = t->r;
    taker_begin(t);
    fill_detach(idle);
}

/* A world in which each of many blobs has a source of its own. */
static void many_blobs(struct script s[MANY], struct digest d[MANY], unsigned char *data[MANY]) {
    for (int i = 0; i < MANY; i++) {
        data[i] = random_data(SIZE + i, &d[i]);
        script_init(&s[i], "big", data[i], SIZE + i);
    }
    world = (typeof(world)){.by_digest = s, .digests = d, .n_by_digest = MANY, .n_sources = 1, .advise_size = -1};
}

/* All of them have begun before the disk is full: a fill that begins later, while others have the memory, would be refused. */
static void begin_together(struct taker *t, struct script *s, int n) {
    for (int i = 0; i < n; i++)
        atomic_store(&s[i].gate, 1);
    for (int i = 0; i < n; i++)
        loop_call(t[i].loop, begin_and_take_nothing, &t[i]);
    for (int i = 0; i < n; i++)
        while (atomic_load(&s[i].sent) < 1)
            sched_yield();
    for (int i = 0; i < n; i++)
        atomic_store(&s[i].gate, INT64_MAX);
}

static void windows_stay_within_their_budget_and_all_readers_get_everything(void **state) {
    (void)state;
    struct script s[MANY];
    struct digest d[MANY];
    struct taker t[MANY];
    unsigned char *data[MANY];
    many_blobs(s, d, data);
    budget_limit(BUDGET_PASS_THROUGH, 24 * MB);
    int64_t refused = pass_through().refused;
    world_start(MB);
    for (int i = 0; i < MANY; i++)
        taker_init(&t[i], i, &d[i], SIZE + i, "a", 0, 0);
    begin_together(t, s, MANY);
    /* One has 16 MiB and another 8; the rest have come as far as the disk takes them. */
    while (pass_through().refused < refused + MANY - 2)
        sched_yield();
    assert_true(pass_through().peak <= 24 * MB);
    assert_true(memory_files() <= 24 * MB);
    for (int i = 0; i < MANY; i++)
        loop_call(t[i].loop, turn_away, &t[i]);
    for (int i = 0; i < MANY; i++) {
        taker_expect(&t[i], data[i]);
        assert_true(memory_files() <= 24 * MB);
    }
    world_stop();
    assert_true(pass_through().peak <= 24 * MB);
    assert_int_equal(pass_through().used, 0);
    world_clean();
    for (int i = 0; i < MANY; i++) {
        free(data[i]);
    }
}

/* Clients that take nothing keep the window of each blob they ask for. */
static void one_caller_leaves_memory_for_windows_of_others(void **state) {
    (void)state;
    struct script s[MANY];
    struct digest d[MANY];
    struct taker t[MANY];
    unsigned char *data[MANY];
    many_blobs(s, d, data);
    budget_limit(BUDGET_PASS_THROUGH, 64 * MB);
    int64_t refused = pass_through().refused;
    world_start(MB);
    for (int i = 0; i < MANY; i++) {
        taker_init(&t[i], i, &d[i], SIZE + i, "a", 0, 0);
        t[i].spec.caller = (struct caller){.kind = CALLER_CLIENT, .who.bytes = {[15] = i < MANY - 1 ? 1 : 2}};
    }
    begin_together(t, s, MANY - 1);
    /* Two have a window each, half of all; the others wait. */
    while (pass_through().refused < refused + MANY - 1 - 2)
        sched_yield();
    assert_true(pass_through().used <= 32 * MB);
    taker_go(&t[MANY - 1]);
    taker_expect(&t[MANY - 1], data[MANY - 1]);
    for (int i = 0; i < MANY - 1; i++)
        loop_call(t[i].loop, turn_away, &t[i]);
    for (int i = 0; i < MANY - 1; i++)
        taker_expect(&t[i], data[i]);
    world_stop();
    assert_int_equal(pass_through().used, 0);
    world_clean();
    for (int i = 0; i < MANY; i++) {
        free(data[i]);
    }
}

/* The second reader of what is passed through comes too late for the first one's window. */
static void a_new_request_is_refused_before_its_head_is_sent(void **state) {
    (void)state;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "big", 40 * MB, &d);
    atomic_store(&s.gate, 30 * MB);
    budget_limit(BUDGET_PASS_THROUGH, 8 * MB);
    world_start(MB);
    struct taker a, b, c;
    taker_start(&a, 0, &d, 40 * MB, "a", 0, 0);
    while (atomic_load(&s.sent) < 30 * MB)
        sched_yield();
    int64_t refused = pass_through().refused;
    taker_start(&b, 1, &d, 40 * MB, "a", 0, 0);
    taker_fails(&b, ERR_BUSY);
    assert_int_equal(pass_through().refused, refused + 1);
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&a, data);
    while (pass_through().used > 0)
        sched_yield();
    taker_start(&c, 1, &d, 40 * MB, "a", 0, 0);
    taker_expect(&c, data);
    world_end(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_stay_within_their_budget_and_all_readers_get_everything),
        cmocka_unit_test(one_caller_leaves_memory_for_windows_of_others),
        cmocka_unit_test(a_new_request_is_refused_before_its_head_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
