/* The store when its index or its folder is damaged, or may not be written: made again, verified, or an error that says
 * what to do. */
#include "tests/unit/common/store/one_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/core/file.h"
#include "common/store/report.h"
#include "common/store/tag.h"

static void damage_index(const char *bytes, size_t len) {
    char path[512];
    snprintf(path, sizeof(path), "%s/index.db", dir);
    assert_int_equal(file_write_atomic(path, 0600, bytes, len, NULL), 0);
}

static void a_damaged_index_is_put_aside_and_made_again(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 12, 1000);
    char garbage[20000], path[512];
    memset(garbage, 'x', sizeof(garbage));
    shut();
    damage_index(garbage, sizeof(garbage));
    store = fixture_open(dir, 0);
    assert_true(fixture_held(store, &d));
    snprintf(path, sizeof(path), "%s/index.db.old", dir);
    assert_int_equal(access(path, F_OK), 0);
    reopen();
    assert_true(fixture_held(store, &d));
}

static void an_index_damaged_in_the_middle_is_made_again(void **state) {
    (void)state;
    struct digest d[300];
    for (unsigned i = 0; i < 300; i++)
        d[i] = fixture_put(store, 1000 + i, 100);
    shut();
    char path[512], junk[4096];
    memset(junk, 0xa5, sizeof(junk));
    snprintf(path, sizeof(path), "%s/index.db", dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    int fd = open(path, O_WRONLY);
    for (off_t at = 4096; at < st.st_size; at += 4096)
        assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
    close(fd);
    store = fixture_open(dir, 0);
    for (unsigned i = 0; i < 300; i++)
        assert_true(fixture_held(store, &d[i]));
}

static void another_schema_version_is_made_again_and_tags_are_kept(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 13, 1000);
    set_tag("r/d", "t", &d);
    shut();
    exec_index("PRAGMA user_version=99");
    store = fixture_open(dir, 0);
    struct tag_facts rec;
    assert_true(fixture_held(store, &d));
    assert_true(store_tag_get(store, "r/d", "t", &rec));
}

static int inspect(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n) {
    if (len < 7 || memcmp(data, "{\"m\":1}", 7) != 0) return ERR_INVALID;
    snprintf(media_type, 256, "application/m");
    *children = calloc(1, sizeof(**children));
    digest_of(*children, DIGEST_SHA256, "child", 5);
    *n = 1;
    return 0;
}

static void rebuild_finds_manifests_again(void **state) {
    (void)state;
    struct digest m, other, blob = fixture_put(store, 14, 100);
    put_manifest("{\"m\":1}", "r/e", NULL, 0, &m);
    put_manifest("{\"n\":1}", "r/e", NULL, 0, &other);
    shut();
    struct verify_report rep;
    struct error err;
    assert_int_equal(store_rebuild(dir, inspect, &rep, &err), 0);
    assert_int_equal(rep.adopted, 3);
    store = fixture_open(dir, 0);
    struct blob_info bi;
    assert_true(fixture_held(store, &blob));
    assert_true(store_lookup(store, &m, &bi));
    assert_string_equal(bi.media_type, "application/m");
    assert_int_equal(bi.flags, BLOB_MANIFEST);
    assert_true(store_lookup(store, &other, &bi));
    assert_int_equal(bi.flags, 0);
}

static bool add_repo(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)bytes;
    (void)tags;
    char *all = arg;
    snprintf(all + strlen(all), 200 - strlen(all), "%s %lld;", repo, (long long)manifests);
    return true;
}

static void rebuild_keeps_what_the_folder_does_not_know(void **state) {
    (void)state;
    struct digest m, hosted, other_hosted;
    uint32_t scope, other;
    struct error err;
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    assert_int_equal(store_scope(store, "acme/other", &other), 0);
    char *data = fixture_bytes(16, 100, &hosted);
    struct commit_info info = {.size = 100, .flags = BLOB_HOSTED, .scopes = &scope, .n_scopes = 1};
    assert_int_equal(put_bytes(store, &hosted, data, 100, &info, &err), 0);
    free(data);
    put_manifest("{\"m\":1}", "acme/app", NULL, 0, &m);
    put_manifest("{\"m\":1}", "acme/other", NULL, 0, &m);
    assert_int_equal(fixture_put_flags(store, 15, 100, BLOB_HOSTED, &other_hosted), 0);
    store_add_scope(store, &hosted, other);
    struct tag_facts rec = {.digest = m, .size = 7, .media_type = "application/m"};
    store_tag_set(store, "acme/app", "v1", &rec);
    shut();
    struct verify_report rep;
    assert_int_equal(store_rebuild(dir, inspect, &rep, &err), 0);
    assert_int_equal(rep.adopted, 3);
    store = fixture_open(dir, 0);
    struct blob_info bi;
    /* In another order, so that the old numbers would be wrong. */
    assert_int_equal(store_scope(store, "acme/other", &other), 0);
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    assert_true(store_lookup_in(store, &hosted, scope, &bi));
    assert_int_equal(bi.flags, BLOB_HOSTED);
    assert_true(store_lookup_in(store, &hosted, other, &bi));
    assert_false(store_lookup_in(store, &other_hosted, scope, &bi));
    assert_true(store_lookup(store, &other_hosted, &bi));
    assert_int_equal(bi.flags, BLOB_HOSTED);
    assert_true(store_tag_get(store, "acme/app", "v1", &rec));
    char repos[200] = "";
    assert_int_equal(store_each_repo(store, add_repo, repos, &err), 0);
    assert_string_equal(repos, "acme/app 1;acme/other 1;");
    assert_int_equal(prune_to(store, 0), 7); /* the manifest */
}

static void verify_puts_a_flipped_byte_in_quarantine(void **state) {
    (void)state;
    struct digest good = fixture_put(store, 15, 3000000), bad = fixture_put(store, 16, 5000);
    char path[512], hex[DIGEST_STR_MAX];
    path_of(&bad, path);
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x55\xaa", 2, 4000), 2);
    close(fd);
    struct verify_report rep;
    struct error err;
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.checked, 2);
    assert_int_equal(rep.bad, 1);
    assert_int_equal(rep.bytes, 3005000);
    assert_true(fixture_held(store, &good));
    assert_false(fixture_held(store, &bad));
    snprintf(path, sizeof(path), "%s/quarantine/sha256-%s", dir, digest_hex(&bad, hex));
    assert_int_equal(access(path, F_OK), 0);
}

static void flip(const struct digest *d) {
    char path[512];
    path_of(d, path);
    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x55\xaa", 2, 4000), 2);
    close(fd);
}

static void what_is_found_wrong_by_reading_it_again_is_held_no_more(void **state) {
    (void)state;
    struct digest good = fixture_put(store, 17, 5000), bad = fixture_put(store, 18, 5000), hosted;
    assert_int_equal(fixture_put_flags(store, 19, 5000, BLOB_HOSTED, &hosted), 0);
    flip(&bad);
    flip(&hosted);
    char path[512], hex[DIGEST_STR_MAX];
    assert_int_equal(store_recheck(store, &good), 0);
    assert_int_equal(store_recheck(store, &bad), ERR_MISMATCH);
    assert_int_equal(store_recheck(store, &bad), ERR_NOT_FOUND);
    assert_int_equal(store_recheck(store, &hosted), ERR_MISMATCH);
    assert_true(fixture_held(store, &good));
    assert_false(fixture_held(store, &bad) || fixture_held(store, &hosted));
    /* Nobody else has what is hosted: a person may want it as it is. */
    snprintf(path, sizeof(path), "%s/quarantine/sha256-%s", dir, digest_hex(&hosted, hex));
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/quarantine/sha256-%s", dir, digest_hex(&bad, hex));
    assert_int_equal(access(path, F_OK), -1);
    store_stop_bulk(store);
    assert_int_equal(store_recheck(store, &good), ERR_CANCELLED);
}

static void quarantine_keeps_the_newest_few_and_is_counted(void **state) {
    (void)state;
    enum { BAD = 40, KEPT = 16, SIZE = 5000 };
    struct digest bad[BAD];
    struct store_usage u;
    char path[512], hex[DIGEST_STR_MAX];
    for (unsigned i = 0; i < BAD; i++) {
        assert_int_equal(fixture_put_flags(store, 100 + i, SIZE, BLOB_HOSTED, &bad[i]), 0);
        flip(&bad[i]);
        assert_int_equal(store_recheck(store, &bad[i]), ERR_MISMATCH);
    }
    unsigned n = 0; /* of those that came within a tick of the clock, any may be the newer */
    for (unsigned i = 0; i < BAD; i++) {
        snprintf(path, sizeof(path), "%s/quarantine/sha256-%s", dir, digest_hex(&bad[i], hex));
        n += access(path, F_OK) == 0;
    }
    assert_int_equal(n, KEPT);
    for (int again = 0; again < 2; again++) {
        store_usage(store, &u);
        assert_int_equal(u.quarantined, KEPT);
        assert_int_equal(u.quarantine_bytes, KEPT * SIZE);
        reopen();
    }
    /* The newest stays, though it is more than all of them may be. */
    assert_int_equal(truncate(path, 2 * GiB), 0);
    reopen();
    store_usage(store, &u);
    assert_int_equal(u.quarantined, 1);
    assert_int_equal(u.quarantine_bytes, 2 * GiB);
}

static void what_is_no_file_in_place_of_one_holds_nobody(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 20, 5000), same;
    char hex[DIGEST_STR_MAX], path[512];
    digest_hex(&d, hex);
    snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", dir, hex, hex);
    struct open_file *f;
    for (int i = 0; i < 2; i++) {
        reopen();
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        if (i == 0) {
            struct blob_info info;
            assert_int_equal(store_open_blob(store, &d, USE_WHOLE, &f, &info), ERR_NOT_FOUND);
        } else {
            struct verify_report r;
            assert_int_equal(store_verify(store, NULL, NULL, &r, NULL), 0);
            assert_int_equal(r.bad, 1);
        }
        assert_false(fixture_held(store, &d));
        unlink(path);
        same = fixture_put(store, 20, 5000);
        assert_true(digest_eq(&same, &d));
    }
}

static void a_folder_that_cannot_be_written_is_an_error_with_a_hint(void **state) {
    (void)state;
    char cmd[700], ro[300];
    snprintf(ro, sizeof(ro), "%s/ro", dir);
    snprintf(cmd, sizeof(cmd), "mkdir %s && mount -t tmpfs -o ro,size=64k none %s", ro, ro);
    assert_int_equal(system(cmd), 0);
    struct store *s;
    struct error err = {0};
    struct store_config cfg = {.dir = ro};
    unsetenv("INVOCATION_ID");
    int r = store_open(&s, &cfg, &err);
    assert_int_equal(r, -EROFS);
    assert_non_null(strstr(err.hint, "mount its file system writable"));
    setenv("INVOCATION_ID", "x", 1);
    r = store_open(&s, &cfg, &err);
    unsetenv("INVOCATION_ID");
    snprintf(cmd, sizeof(cmd), "umount %s", ro);
    assert_int_equal(system(cmd), 0);
    assert_int_equal(r, -EROFS);
    assert_non_null(strstr(err.hint, "ReadWritePaths="));
    assert_null(strstr(err.hint, "chown"));
}

/* The commands of the page that write a unit's drop-in stand in the hint. */
static void says_what_the_page_says(const char *hint) {
    char *page = NULL;
    size_t len;
    assert_int_equal(file_read_all("docs/operating.md", 1 << 20, &page, &len, NULL), 0);
    char *start = strstr(page, "sudo install -d /etc/systemd/system/entrepot-edge.service.d\n");
    assert_non_null(start);
    *strstr(start, " && sudo systemctl restart entrepot-edge\n```") = '\0';
    for (char *line = strtok(start, "\n"); line; line = strtok(NULL, "\n")) {
        if (!strstr(hint, line)) fail_msg("\"%s\" not in: %s", line, hint);
    }
    free(page);
}

static void a_unit_that_may_not_write_is_told_the_drop_in(void **state) {
    (void)state;
    static const struct {
        const char *folder, *says;
    } cases[] = {{"/srv/entrepot/edge", NULL}, /* is there */
                 {"/srv/entrepot/none", "ReadWritePaths=/srv/entrepot/none\\n"},
                 {"/srv/entrepot/a-folder-whose-name-is-too-long-for-the-commands-to-be-told-twice-in-one-hint-to-copy",
                  "ReadWritePaths=FOLDER"}};
    char *own_name = program_invocation_short_name, unit[] = "entrepot-edge";
    assert_int_equal(system("mount -t tmpfs -o size=64k none /srv && mkdir -p /srv/entrepot/edge && "
                            "mount -o remount,ro /srv"),
                     0);
    program_invocation_short_name = unit;
    setenv("INVOCATION_ID", "0123", 1);
    struct error errs[ARRAY_LEN(cases)] = {0}, outside = {0};
    int r[ARRAY_LEN(cases)];
    struct store *s;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        r[i] = store_open(&s, &(struct store_config){.dir = cases[i].folder}, &errs[i]);
    unsetenv("INVOCATION_ID");
    int r_outside = store_open(&s, &(struct store_config){.dir = cases[0].folder}, &outside);
    program_invocation_short_name = own_name;
    assert_int_equal(system("umount /srv"), 0);
    says_what_the_page_says(errs[0].hint);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(r[i], -EROFS);
        if (cases[i].says && !strstr(errs[i].hint, cases[i].says)) fail_msg("%s", errs[i].hint);
    }
    assert_int_equal(r_outside, -EROFS);
    assert_non_null(strstr(outside.hint, "mount its file system writable"));
}

/* As a plain user: what root may write is no matter. */
static void open_as_nobody(const char *says) {
    struct store *s;
    struct error err = {0};
    struct store_config cfg = {.dir = dir};
    if (setuid(65534) < 0) _exit(2);
    int r = store_open(&s, &cfg, &err);
    bool said = r == -EACCES && strstr(err.msg, says) && strstr(err.hint, "65534");
    if (!said) fprintf(stderr, "%d: %s (%s)\n", r, err.msg, err.hint);
    _exit(said ? 0 : 3);
}

static void what_may_not_be_written_is_named_at_start(void **state) {
    (void)state;
    static const struct {
        const char *name;
        mode_t mode;
    } odd[] = {{"", 0555}, {"/index.db", 0444}, {"/fills", 0555}, {"/blobs", 0555}};
    char cmd[600], path[512];
    shut();
    snprintf(cmd, sizeof(cmd), "chown -R 65534 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        struct stat st;
        int status;
        snprintf(path, sizeof(path), "%s%s", dir, odd[i].name);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(chmod(path, odd[i].mode), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) open_as_nobody(i == 0 ? dir : odd[i].name + 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(chmod(path, st.st_mode & 07777), 0);
    }
    snprintf(cmd, sizeof(cmd), "chown -R 0 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    store = fixture_open(dir, 0);
}

/* Once run as root in the service's folder, or as another user: told at start, before a single blob is lost to it. */
static void what_belongs_to_others_is_refused_at_start(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 30, 1000);
    struct store_config cfg = {.dir = dir};
    struct error err = {0};
    struct store *s;
    char path[512], *slash, cmd[600];
    int status;
    shut();
    assert_int_equal(chown(dir, 65534, 65534), 0);
    assert_int_equal(store_open(&s, &cfg, &err), -EPERM);
    assert_non_null(strstr(err.msg, "belongs to user 65534, and this runs as user 0"));
    assert_non_null(strstr(err.hint, "chown -R 0"));
    /* All is the service's, but for a single folder of blobs that root has made. */
    snprintf(cmd, sizeof(cmd), "chown -R 65534 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    path_of(&d, path);
    slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(chown(path, 0, 0), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) open_as_nobody(path + strlen(dir) + 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(cmd, sizeof(cmd), "chown -R 0 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    store = fixture_open(dir, 0);
}

static void verify_says_what_it_could_not_move(void **state) {
    (void)state;
    struct digest bad = fixture_put(store, 31, 5000);
    char path[512];
    snprintf(path, sizeof(path), "%s/quarantine", dir);
    assert_int_equal(file_write_atomic(path, 0600, "x", 1, NULL), 0);
    flip(&bad);
    struct verify_report rep;
    struct error err = {0};
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.bad, 1);
    assert_int_equal(rep.moved, 0);
    assert_int_equal(rep.not_moved, 1);
    assert_non_null(strstr(rep.why_not_moved, "Not a directory"));
    assert_false(fixture_held(store, &bad)); /* in any case: what is wrong is not served */
    assert_true(store_trouble(store, &err));
    assert_non_null(strstr(err.msg, "quarantine"));
}

static void prune_counts_only_what_went(void **state) {
    (void)state;
    struct digest good = fixture_put(store, 32, 3000), stuck = fixture_put(store, 33, 5000);
    char path[512];
    path_of(&stuck, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* unlink(2) refuses it, whoever asks */
    struct prune_report rep;
    store_prune(store, 0, &rep);
    assert_int_equal(rep.freed, 4096); /* its block */
    assert_true(rep.not_removed > 0);
    assert_non_null(strstr(rep.why, "Is a directory"));
    assert_false(fixture_held(store, &good));
    assert_true(fixture_held(store, &stuck));
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.bytes, 5000);
    assert_int_equal(u.evictions, 1);
    assert_int_equal(rmdir(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_damaged_index_is_put_aside_and_made_again),
        T(an_index_damaged_in_the_middle_is_made_again),
        T(another_schema_version_is_made_again_and_tags_are_kept),
        T(rebuild_finds_manifests_again),
        T(rebuild_keeps_what_the_folder_does_not_know),
        T(verify_puts_a_flipped_byte_in_quarantine),
        T(what_is_found_wrong_by_reading_it_again_is_held_no_more),
        T(quarantine_keeps_the_newest_few_and_is_counted),
        T(what_is_no_file_in_place_of_one_holds_nobody),
        T(a_folder_that_cannot_be_written_is_an_error_with_a_hint),
        T(a_unit_that_may_not_write_is_told_the_drop_in),
        T(what_may_not_be_written_is_named_at_start),
        T(what_belongs_to_others_is_refused_at_start),
        T(verify_says_what_it_could_not_move),
        T(prune_counts_only_what_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
