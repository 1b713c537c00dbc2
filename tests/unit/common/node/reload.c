/* SIGHUP: what was read again, and what was not though it has changed, as the log tells it. */
#include "common/node/reload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/support/self_signed.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/core/log.h"
#include "tests/unit/support/folder.h"

static char dir[64], config[96], cert[96], key[96];
static FILE *said;
static struct loop *loop;
static struct node_config node;

static void write_file(const char *path, const char *text) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void make_certificate(void) {
    static const char *const names[] = {"edge.example"};
    struct error err = {0};
    unlink(cert);
    unlink(key);
    assert_int_equal(self_signed_make(cert, key, names, 1, &err), 0);
}

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/entrepot-reload-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(config, sizeof(config), "%s/node.yaml", dir);
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    said = tmpfile();
    assert_non_null(said);
    log_init(fileno(said), LOG_FORMAT_KV, LOG_LEVEL_INFO, "test");
    loop = loop_new("control");
    node = (struct node_config){.config_file = config};
    write_file(config, "log: { level: info }\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_free(loop);
    fclose(said);
    return folder_remove(dir);
}

/* What SIGHUP says now has these words. */
static void expect(struct reload *r, const char *level, const char *certificate, const char *words) {
    static char text[8192];
    assert_int_equal(ftruncate(fileno(said), 0), 0);
    assert_int_equal(lseek(fileno(said), 0, SEEK_SET), 0);
    reload_now(r);
    ssize_t n = pread(fileno(said), text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    const char *line = strstr(text, "event=reloaded");
    if (!line || !strstr(text, certificate) || !strstr(line, words) || !strstr(text, level))
        fail_msg("wanted \"%s\", \"%s\", \"%s\": %s", level, certificate, words, text);
}

static void an_unchanged_file_is_said_to_be_so(void **state) {
    (void)state;
    struct reload *r = reload_new(&node, loop);
    reload_watch(r, NULL);
    expect(r, "level=info", "none configured", "unchanged");
    /* Written again with the same text, it has not changed. */
    write_file(config, "log: { level: info }\n");
    expect(r, "level=info", "none configured", "unchanged");
    reload_free(r);
}

static void a_changed_file_is_said_to_need_a_restart_until_it_is_as_before(void **state) {
    (void)state;
    struct reload *r = reload_new(&node, loop);
    reload_watch(r, NULL);
    write_file(config, "log: { level: debug }\n");
    for (int i = 0; i < 2; i++)
        expect(r, "level=warn", "none configured", "restart the node to apply it");
    write_file(config, "log: { level: info }\n");
    expect(r, "level=info", "none configured", "unchanged");
    reload_free(r);
}

static void a_file_that_is_gone_leaves_the_node_as_it_is(void **state) {
    (void)state;
    struct reload *r = reload_new(&node, loop);
    reload_watch(r, NULL);
    unlink(config);
    expect(r, "level=warn", "none configured", "cannot be read now");
    reload_free(r);
    /* It was not there at the start, and now it is. */
    r = reload_new(&node, loop);
    write_file(config, "x");
    expect(r, "level=warn", "none configured", "restart the node to apply it");
    reload_free(r);
}

static struct {
    bool valid;
    const char *words;
} taken;

static bool take(char *words, size_t cap, void *arg) {
    (void)arg;
    snprintf(words, cap, "%s", taken.words);
    return taken.valid;
}

static void a_file_that_is_not_valid_is_said_to_be_so_until_it_is_mended(void **state) {
    (void)state;
    struct reload *r = reload_new(&node, loop);
    reload_on_change(r, take, NULL);
    taken.words = "";
    write_file(config, "log: {\n");
    for (int i = 0; i < 2; i++)
        expect(r, "level=warn", "none configured", "is not valid: nothing was taken from it");
    taken.valid = true;
    taken.words = "took sites";
    write_file(config, "sites: []\n");
    expect(r, "level=warn", "none configured", "has changed: took sites; the rest is read at a start only");
    taken.words = "";
    write_file(config, "log: { level: info }\n");
    expect(r, "level=info", "none configured", "unchanged");
    reload_free(r);
}

static void without_a_file_there_is_nothing_to_read(void **state) {
    (void)state;
    node.config_file = NULL;
    struct reload *r = reload_new(&node, loop);
    expect(r, "level=info", "none configured", "no file was read at the start, so nothing is read again");
    reload_free(r);
}

static void a_certificate_is_read_anew_only_when_it_has_changed_and_is_good(void **state) {
    (void)state;
    struct tls_server *tls;
    struct error err = {0};
    make_certificate();
    assert_int_equal(tls_server_new(&tls, cert, key, &err), 0);
    struct reload *r = reload_new(&node, loop);
    reload_watch(r, tls);
    expect(r, "level=info", "certificate=unchanged", "unchanged");
    make_certificate();
    expect(r, "event=certificate_reloaded", "certificate=\"read anew\"", "unchanged");
    expect(r, "level=info", "certificate=unchanged", "unchanged");
    int64_t until = tls_server_not_after(tls);
    write_file(cert, "no certificate\n");
    expect(r, "event=certificate_not_reloaded", "the old certificate stays", "unchanged");
    assert_int_equal(tls_server_not_after(tls), until);
    make_certificate();
    expect(r, "event=certificate_reloaded", "certificate=\"read anew\"", "unchanged");
    reload_free(r);
    tls_server_free(tls);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unchanged_file_is_said_to_be_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_file_is_said_to_need_a_restart_until_it_is_as_before, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_leaves_the_node_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_valid_is_said_to_be_so_until_it_is_mended, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_a_file_there_is_nothing_to_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_certificate_is_read_anew_only_when_it_has_changed_and_is_good, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
