/* Files that are not in the page cache, sent by serving loops that must not wait for them. */
#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/support/http_fixture.h"

#define FILE_REQUEST "GET /file HTTP/1.1\r\nHost: a\r\n\r\n"
#define CLIENTS 8
#define ROUNDS 20

static struct fixture f;
static struct workpool *reads;

static int start(void **state) {
    (void)state;
    reads = workpool_new("read", 2);
    fixture_init(&f, 2);
    f.cfg.reads = reads;
    fixture_start(&f);
    return 0;
}

static int stop(void **state) {
    (void)state;
    fixture_stop(&f, 100);
    workpool_free(reads);
    return 0;
}

/* Out of the page cache, where the file system has one. */
static void forget_file(void) {
    int fd = open_file_fd(f.file);
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void *client(void *arg) {
    bool *right = arg;
    char *buf = malloc(BIG + 4096), head[1024];
    size_t n = 0;
    if (!buf) abort();
    int fd = dial(&f);
    *right = true;
    for (int round = 0; round < ROUNDS; round++) {
        forget_file();
        say(fd, FILE_REQUEST);
        *right = *right && hear_answer(fd, head, sizeof(head), buf, &n) && n == BIG && memcmp(buf, pattern, BIG) == 0;
    }
    close(fd);
    free(buf);
    return NULL;
}

static void a_file_that_is_not_in_memory_arrives_whole(void **state) {
    (void)state;
    pthread_t threads[CLIENTS];
    bool right[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, client, &right[i]), 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CLIENTS; i++)
        assert_true(right[i]);
}

static void client_that_leaves_while_the_disk_is_read_is_forgotten(void **state) {
    (void)state;
    for (int round = 0; round < 100; round++) {
        forget_file();
        int fd = dial(&f);
        say(fd, FILE_REQUEST);
        close(fd);
    }
    WAIT_FOR(atomic_load(&f.seen.handled) > 0 && atomic_load(&f.seen.closed) == atomic_load(&f.seen.handled));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_that_is_not_in_memory_arrives_whole, start, stop),
        cmocka_unit_test_setup_teardown(client_that_leaves_while_the_disk_is_read_is_forgotten, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
