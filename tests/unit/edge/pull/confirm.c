/* When names wait for central's word on the settings: a refusal means that central may be back in a moment, however
 * late a busy edge notices it; a failure that took its time means that it is away. */
#include "edge/pull/confirm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/core/log.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/scripted_server.h"

/* More than the time within which a failure counts as one that came at once. */
#define LATE_US 300000

static struct script_server server;
static struct loop *loop;
static struct http_client *client;
static struct uplink *uplink;
static struct settings *settings;
static struct confirm *confirm;
static char dir[256];

static void ignore(void *arg) {
    (void)arg;
}

static void on_refused(const char *why, void *arg) {
    (void)why;
    (void)arg;
}

static void on_failed(void *arg) {
    (void)arg;
    loop_stop(loop);
}

static void begin(struct loop_task *task) {
    (void)task;
    confirm_begin(confirm);
}

/* Nothing else runs for a while: so an edge that gets no processor sees what has come. */
static void begin_and_be_held_up(struct loop_task *task) {
    begin(task);
    usleep(LATE_US);
}

static bool settles_after(void (*how)(struct loop_task *task)) {
    struct loop_task task = {.fn = how};
    loop_post(loop, &task);
    loop_run(loop);
    return confirm_is_settled(confirm);
}

static bool say_late(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    usleep(LATE_US);
    script_say(fd, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    return false;
}

static bool hang_up(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)fd;
    (void)head;
    return false;
}

static int set_up(void **state, bool (*handle)(struct script_server *s, int fd, const char *head)) {
    (void)state;
    char url[64];
    const char *tmp = getenv("TMPDIR");
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "%s/entrepot-confirm-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    script_start(&server, handle, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    loop = loop_new("test");
    client = http_client_new(loop);
    uplink = uplink_new(url, NULL);
    settings = settings_new(dir, &(struct settings_own){0});
    confirm = confirm_new(&(struct confirm_config){.uplink = uplink,
                                                   .loop = loop,
                                                   .client = client,
                                                   .settings = settings,
                                                   .ask = ignore,
                                                   .found = ignore,
                                                   .refused = on_refused,
                                                   .failed = on_failed});
    return 0;
}

static int set_up_late(void **state) {
    return set_up(state, say_late);
}

static int set_up_hang_up(void **state) {
    return set_up(state, hang_up);
}

static int tear_down(void **state) {
    (void)state;
    confirm_free(confirm);
    settings_free(settings);
    uplink_free(uplink);
    http_client_free(client);
    loop_free(loop);
    return folder_remove(dir);
}

static void names_wait_after_a_refusal_that_is_seen_late(void **state) {
    (void)state;
    script_stop(&server); /* the port is closed now */
    assert_false(settles_after(begin_and_be_held_up));
}

static void names_wait_after_a_connection_that_was_closed_and_is_seen_late(void **state) {
    (void)state;
    assert_false(settles_after(begin_and_be_held_up));
    script_stop(&server);
}

static void names_do_not_wait_after_a_failure_that_took_its_time(void **state) {
    (void)state;
    assert_true(settles_after(begin));
    script_stop(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_wait_after_a_refusal_that_is_seen_late, set_up_hang_up, tear_down),
        cmocka_unit_test_setup_teardown(names_wait_after_a_connection_that_was_closed_and_is_seen_late, set_up_hang_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(names_do_not_wait_after_a_failure_that_took_its_time, set_up_late, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
