/* kill -9 at arbitrary moments of commits, evictions and tag changes: after each, the store opens again with every
 * acknowledged blob, and every file in blobs/ is what its name says. */
#include "tests/unit/common/store/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/core/log.h"
#include "common/store/part.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#define ROUNDS 20
#define BLOBS_MAX 100000u

/* Shared with the child: what the parent must find again. */
struct shared {
    _Atomic unsigned acknowledged; /* hosted blobs 0 .. acknowledged-1 are committed */
    _Atomic unsigned steps;
    _Atomic bool failed;
};

static size_t size_of(unsigned n) {
    return 100 + n * 37 % 20000;
}

static void child_commit(struct store *s, struct shared *sh, unsigned n) {
    struct digest d;
    struct part *p;
    struct error err;
    int64_t have;
    char *data = fixture_bytes(n, size_of(n), &d);
    if (part_open(s, &d, &p, &have, &err) < 0) _exit(3);
    if (part_write(p, 0, data, size_of(n)) < 0) _exit(4);
    struct fixture_wait w = FIXTURE_WAIT;
    struct commit_info info = {.size = (int64_t)size_of(n), .flags = BLOB_HOSTED};
    part_commit(p, &info, fixture_done, &w);
    if (fixture_wait(&w) != 0) _exit(5);
    sh->acknowledged = n + 1;
    free(data);
}

static void child_main(const char *dir, struct shared *sh) {
    struct store *s = NULL;
    struct error err = {0};
    struct store_config cfg = {.dir = dir, .limit = 0};
    if (store_open(&s, &cfg, &err) < 0) _exit(2);
    for (unsigned n = sh->acknowledged; n < BLOBS_MAX; n++) {
        struct digest d;
        child_commit(s, sh, n);
        /* Blobs that may go, and a tag that moves. */
        if (fixture_put_flags(s, 1000000 + n, size_of(n), 0, &d) < 0) _exit(6);
        struct tag_facts rec = {.digest = d, .size = n};
        store_tag_set(s, "r", "latest", &rec);
        if (n % 3 == 0) prune_to(s, 50000);
        sh->steps++;
    }
    _exit(7);
}

static bool check_blob(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg) {
    (void)d;
    (void)used_at;
    *(int64_t *)arg += info->size;
    return true;
}

static void check_store(const char *dir, struct shared *sh) {
    struct store *s = fixture_open(dir, 0);
    struct verify_report rep;
    struct error err;
    int64_t bytes = 0;
    assert_int_equal(store_verify(s, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.bad, 0);
    assert_int_equal(store_each_blob(s, check_blob, &bytes, &err), 0);
    assert_int_equal(rep.bytes, bytes);
    for (unsigned n = 0; n < sh->acknowledged; n++) {
        struct digest d;
        struct blob_info info;
        free(fixture_bytes(n, size_of(n), &d));
        assert_true(store_lookup(s, &d, &info));
        assert_int_equal(info.size, size_of(n));
    }
    store_close(s);
}

static void nothing_acknowledged_is_lost_by_kill_9(void **state) {
    (void)state;
    char dir[256];
    fixture_dir(dir);
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(sh != MAP_FAILED);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) child_main(dir, sh);
        /* The moment is set by the child's progress, and then by a few hundred microseconds that differ from round to
         * round. */
        unsigned until = sh->steps + 1 + round % 7;
        int status = 0;
        while (sh->steps < until && waitpid(pid, &status, WNOHANG) == 0)
            usleep(137 + 211 * round);
        kill(pid, SIGKILL);
        if (!status) assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        check_store(dir, sh);
    }
    assert_true(sh->acknowledged >= ROUNDS);
    munmap(sh, sizeof(*sh));
    fixture_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost_by_kill_9)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
