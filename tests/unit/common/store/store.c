/* The store from outside: commits, look-ups, reopening, tags, scopes, parts, lists. */
#include "tests/unit/common/store/one_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/core/file.h"
#include "common/store/part.h"
#include "common/store/report.h"
#include "common/store/tag.h"

static void a_committed_part_is_found_and_survives_reopening(void **state) {
    (void)state;
    struct digest d;
    struct error err;
    struct part *p;
    int64_t have;
    char *data = fixture_bytes(1, 100000, &d), *back;
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(have, 0);
    struct part *second;
    assert_int_equal(part_open(store, &d, &second, &have, &err), ERR_BUSY);
    assert_int_equal(part_write(p, 0, data, 60000), 0);
    assert_int_equal(part_write(p, 60000, data + 60000, 40000), 0);
    uint32_t scope, other;
    assert_int_equal(store_scope(store, "docker.io", &scope), 0);
    assert_int_equal(store_scope(store, "ghcr.io", &other), 0);
    struct commit_info info = {.size = 100000, .scopes = &scope, .n_scopes = 1};
    struct fixture_wait w = FIXTURE_WAIT;
    part_commit(p, &info, fixture_done, &w);
    assert_int_equal(fixture_wait(&w), 0);
    for (int round = 0; round < 2; round++) {
        struct blob_info bi;
        size_t len;
        assert_true(store_lookup_in(store, &d, scope, &bi));
        assert_false(store_lookup_in(store, &d, other, &bi));
        assert_int_equal(bi.size, 100000);
        assert_null(bi.media_type);
        assert_int_equal(store_read_blob(store, &d, 1 << 20, &back, &len, &bi), 0);
        assert_memory_equal(back, data, 100000);
        free(back);
        assert_int_equal(store_read_blob(store, &d, 99999, &back, &len, &bi), ERR_TOO_BIG);
        reopen();
    }
    char path[512];
    struct stat st;
    path_of(&d, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.blobs, 1);
    assert_int_equal(u.bytes, 100000);
    assert_int_equal(u.parts, 0);
    assert_int_equal(u.part_bytes, 0);
    free(data);
}

static void a_part_is_continued_up_to_its_first_hole(void **state) {
    (void)state;
    struct digest d;
    struct error err;
    struct part *p;
    int64_t have;
    char *data = fixture_bytes(2, 300000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(part_write(p, 0, data, 65536), 0);
    assert_int_equal(part_write(p, 200000, data + 200000, 100000), 0);
    part_close(p);
    reopen();
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.parts, 1);
    assert_int_equal(u.part_bytes, 300000);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(have, 65536);
    assert_int_equal(part_truncate(p, have), 0);
    part_discard(p);
    store_usage(store, &u);
    assert_int_equal(u.parts, 0);
    assert_int_equal(u.part_bytes, 0);
    free(data);
}

static int64_t on_disk(const struct digest *d, int64_t *len) {
    char path[512], hex[DIGEST_STR_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/fills/sha256-%s.part", dir, digest_hex(d, hex));
    assert_int_equal(stat(path, &st), 0);
    *len = st.st_size;
    return st.st_blocks * 512LL;
}

/* An earlier version has left it, or a process that was killed. */
static void a_part_without_a_byte_is_nothing_to_keep(void **state) {
    (void)state;
    struct digest d;
    struct error err;
    struct part *p;
    struct store_usage u;
    int64_t have;
    char path[512], hex[DIGEST_STR_MAX], *data = fixture_bytes(21, 1, &d);
    snprintf(path, sizeof(path), "%s/fills/sha256-%s.part", dir, digest_hex(&d, hex));
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_true(part_exists(store, &d));
    part_close(p);
    assert_int_equal(access(path, F_OK), -1);
    assert_false(part_exists(store, &d));
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    reopen();
    assert_int_equal(access(path, F_OK), -1);
    store_usage(store, &u);
    assert_int_equal(u.parts, 0);
    free(data);
}

/* A MiB of 64, and a little further on. */
static struct part *begin_large(struct store *s, const struct digest *d, const char *data) {
    struct error err;
    struct part *p;
    int64_t have;
    if (part_open(s, d, &p, &have, &err) < 0) return NULL;
    part_expect(p, have, 64 * MiB);
    if (part_write(p, 0, data, MiB) < 0 || part_write(p, 3 * MiB, data, 65536) < 0) return NULL;
    return p;
}

static void what_is_taken_ahead_misleads_nobody_and_is_given_back(void **state) {
    (void)state;
    struct digest d;
    struct error err;
    int64_t have, len;
    char *data = fixture_bytes(3, MiB, &d);
    struct part *p = begin_large(store, &d, data);
    assert_non_null(p);
    if (on_disk(&d, &len) < 16 * MiB) print_message("this file system, or so full a one, takes nothing ahead\n");
    assert_int_equal(len, 3 * MiB + 65536);
    part_close(p);
    assert_true(on_disk(&d, &len) < 4 * MiB);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(have, MiB);
    part_discard(p);
    /* Killed, it gives nothing back by itself. */
    shut();
    pid_t child = fork();
    if (child == 0) _exit(begin_large(fixture_open(dir, 0), &d, data) ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store = fixture_open(dir, 0);
    assert_true(on_disk(&d, &len) < 4 * MiB);
    assert_int_equal(len, 3 * MiB + 65536);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(have, MiB);
    part_discard(p);
    free(data);
}

static void little_is_taken_ahead_under_a_small_limit(void **state) {
    (void)state;
    shut();
    store = fixture_open(dir, 80 * MiB);
    struct digest d;
    int64_t len;
    char *data = fixture_bytes(3, MiB, &d);
    struct part *p = begin_large(store, &d, data);
    assert_non_null(p);
    assert_true(on_disk(&d, &len) < 4 * MiB);
    part_discard(p);
    free(data);
}

/* Sealed by chmod, then killed before its move into blobs/: as a plain user it could not be opened for writing. */
static void continue_sealed_part_as_nobody(void) {
    struct digest d;
    struct error err;
    struct part *p;
    int64_t have;
    char path[512], hex[DIGEST_STR_MAX];
    if (setuid(65534) < 0) _exit(2);
    struct store *s = fixture_open(dir, 0);
    free(fixture_bytes(21, 1000, &d));
    snprintf(path, sizeof(path), "%s/fills/sha256-%s.part", dir, digest_hex(&d, hex));
    if (file_write_atomic(path, 0444, "abc", 3, NULL) < 0) _exit(3);
    if (part_open(s, &d, &p, &have, &err) < 0 || have != 3) _exit(4);
    part_discard(p);
    store_close(s);
    _exit(0);
}

static void a_part_that_was_sealed_already_is_continued(void **state) {
    (void)state;
    int status;
    char cmd[600];
    shut();
    snprintf(cmd, sizeof(cmd), "chown -R 65534 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) continue_sealed_part_as_nobody();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(cmd, sizeof(cmd), "chown -R 0 '%s'", dir);
    assert_int_equal(system(cmd), 0);
    store = fixture_open(dir, 0);
}

static void a_commit_of_the_wrong_length_fails_and_keeps_the_part(void **state) {
    (void)state;
    struct digest d;
    struct error err;
    struct part *p;
    int64_t have;
    char *data = fixture_bytes(3, 1000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(part_write(p, 0, data, 900), 0);
    struct commit_info info = {.size = 1000};
    struct fixture_wait w = FIXTURE_WAIT;
    part_commit(p, &info, fixture_done, &w);
    assert_int_equal(fixture_wait(&w), ERR_MISMATCH);
    assert_false(fixture_held(store, &d));
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(have, 900);
    part_close(p);
    assert_int_equal(put_bytes(store, &d, data, 999, &info, &err), ERR_MISMATCH);
    free(data);
}

static void manifests_keep_their_media_type(void **state) {
    (void)state;
    struct digest d;
    struct blob_info bi;
    put_manifest("{\"a\":1}", "docker.io/library/x", NULL, 0, &d);
    reopen();
    assert_true(store_lookup(store, &d, &bi));
    assert_string_equal(bi.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_int_equal(bi.flags, BLOB_MANIFEST);
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.manifests, 1);
}

static void fill_media_types(int64_t n) {
    char sql[300];
    shut();
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %lld)"
             "INSERT OR IGNORE INTO media_types SELECT i, 'application/strange.' || i FROM n",
             (long long)n);
    exec_index(sql);
    store = fixture_open(dir, 0);
}

static void put_of_type(const char *text, const char *media_type, struct digest *d) {
    struct error err;
    digest_of(d, DIGEST_SHA256, text, strlen(text));
    struct commit_info info = {
        .size = (int64_t)strlen(text), .flags = BLOB_MANIFEST | BLOB_HOSTED, .media_type = media_type};
    if (put_bytes(store, d, text, strlen(text), &info, &err) < 0) fail_msg("%s", err.msg);
}

static void more_media_types_than_there_is_room_for_lose_nothing(void **state) {
    (void)state;
    static const char usual[] = "application/vnd.oci.image.index.v1+json";
    struct digest known, strange, usual_one;
    struct blob_info bi;
    fill_media_types(999);
    put_of_type("{\"a\":1}", "application/last", &known);
    put_of_type("{\"b\":1}", "application/too-many", &strange);
    put_of_type("{\"c\":1}", usual, &usual_one);
    for (int again = 0; again < 2; again++) {
        assert_true(store_lookup(store, &known, &bi));
        assert_string_equal(bi.media_type, "application/last");
        assert_true(store_lookup(store, &strange, &bi));
        assert_string_equal(bi.media_type, "application/octet-stream");
        assert_true(store_lookup(store, &usual_one, &bi));
        assert_string_equal(bi.media_type, usual);
        reopen();
    }
    /* As many as there was room for once. */
    fill_media_types(60000);
    assert_true(store_lookup(store, &known, &bi) && store_lookup(store, &strange, &bi));
    assert_true(bi.flags & BLOB_HOSTED);
    put_of_type("{\"d\":1}", usual, &usual_one);
    assert_true(store_lookup(store, &usual_one, &bi));
    assert_string_equal(bi.media_type, usual);
}

static void tags_of_more_media_types_than_there_is_room_for_are_kept(void **state) {
    (void)state;
    struct tag_facts rec = {.size = 1}, got;
    char name[20];
    digest_of(&rec.digest, DIGEST_SHA256, "x", 1);
    for (int i = 0; i < 1100; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        snprintf(rec.media_type, sizeof(rec.media_type), "application/strange.%d", i);
        store_tag_set(store, "r/s", name, &rec);
    }
    assert_true(store_tag_get(store, "r/s", "t1099", &got));
    assert_string_equal(got.media_type, "");
    assert_true(digest_eq(&got.digest, &rec.digest));
    snprintf(rec.media_type, sizeof(rec.media_type), "application/vnd.oci.image.manifest.v1+json");
    store_tag_set(store, "r/s", "usual", &rec);
    assert_true(store_tag_get(store, "r/s", "usual", &got));
    assert_string_equal(got.media_type, rec.media_type);
}

static void a_media_type_first_seen_in_a_tag_is_no_damage(void **state) {
    (void)state;
    struct digest d;
    struct tag_facts rec = {.media_type = "application/vnd.oci.image.manifest.v1+json"};
    struct blob_info bi;
    char path[512];
    digest_of(&rec.digest, DIGEST_SHA256, "x", 1);
    store_tag_set(store, "r/f", "t", &rec);
    put_manifest("{\"f\":1}", "r/f", NULL, 0, &d);
    reopen();
    assert_true(store_lookup(store, &d, &bi));
    assert_string_equal(bi.media_type, rec.media_type);
    snprintf(path, sizeof(path), "%s/index.db.old", dir);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_scope_whose_name_was_lost_is_not_given_to_another(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 20, 10), m;
    struct blob_info bi;
    uint32_t scope;
    put_manifest("{\"g\":1}", "r/g", NULL, 0, &m);
    shut();
    exec_index("DELETE FROM scopes; DELETE FROM media_types");
    store = fixture_open(dir, 0);
    assert_int_equal(store_scope(store, "evil.example", &scope), 0);
    assert_false(store_lookup_in(store, &d, scope, &bi));
    assert_true(store_lookup(store, &d, &bi));
    assert_true(store_lookup(store, &m, &bi));
    assert_null(bi.media_type);
    assert_int_equal(bi.flags, 0);
}

static void a_scope_lasts_as_long_as_something_is_in_it(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 21, 10);
    uint32_t used, unused, again;
    struct blob_info bi;
    assert_int_equal(store_scope_find(store, "acme/app"), 0);
    assert_int_equal(store_scope(store, "acme/app", &used), 0);
    assert_int_equal(store_scope(store, "acme/gone", &unused), 0);
    store_add_scope(store, &d, used);
    reopen();
    assert_int_equal(store_scope_find(store, "acme/app"), used);
    assert_int_equal(store_scope_find(store, "acme/gone"), 0);
    assert_int_equal(store_scope(store, "acme/new", &again), 0);
    assert_int_not_equal(again, used);
    assert_false(store_lookup_in(store, &d, again, &bi));
    assert_true(store_unreadable(store, &d, NULL, -EIO));
    reopen();
    assert_int_equal(store_scope_find(store, "acme/app"), 0);
    shut();
    exec_index("INSERT OR REPLACE INTO scopes VALUES(16777215, 'the last one')");
    store = fixture_open(dir, 0);
    assert_int_equal(store_scope(store, "acme/app", &used), 0);
    assert_in_range(used, 1, 100);
}

static void any_number_of_scopes_is_kept(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 4, 10);
    uint32_t ids[20];
    char name[32];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "docker.io/team/%u", i);
        assert_int_equal(store_scope(store, name, &ids[i]), 0);
        if (i % 2 == 0) store_add_scope(store, &d, ids[i]);
    }
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 20; i++) {
            struct blob_info bi;
            uint32_t again;
            snprintf(name, sizeof(name), "docker.io/team/%u", i);
            again = store_scope_find(store, name);
            assert_int_equal(again, i % 2 == 0 || round == 0 ? ids[i] : 0);
            assert_int_equal(store_lookup_in(store, &d, ids[i], &bi), i % 2 == 0);
        }
        reopen();
    }
    struct blob_info bi;
    assert_false(store_lookup_in(store, &d, 0, &bi));
    assert_true(store_unreadable(store, &d, NULL, -EIO));
    d = fixture_put(store, 4, 10);
    assert_false(store_lookup_in(store, &d, ids[18], &bi));
}

static void a_dropped_blob_is_gone_for_good(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 5, 10);
    struct open_file *f;
    struct blob_info bi;
    char path[512];
    path_of(&d, path);
    assert_int_equal(store_open_blob(store, &d, USE_WHOLE, &f, &bi), 0);
    assert_true(store_unreadable(store, &d, NULL, -EIO));
    assert_false(fixture_held(store, &d));
    assert_int_equal(access(path, F_OK), -1);
    char buf[16];
    assert_int_equal(pread(open_file_fd(f), buf, 16, 0), 10);
    open_file_unref(f);
    assert_int_equal(store_open_blob(store, &d, USE_WHOLE, &f, &bi), ERR_NOT_FOUND);
    reopen();
    assert_false(fixture_held(store, &d));
}

static void a_file_that_went_missing_or_changed_size_is_dropped(void **state) {
    (void)state;
    struct digest a = fixture_put(store, 6, 10), b = fixture_put(store, 7, 10);
    struct open_file *f;
    struct blob_info bi;
    char path[512];
    path_of(&a, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_open_blob(store, &a, USE_WHOLE, &f, &bi), ERR_NOT_FOUND);
    assert_false(fixture_held(store, &a));
    path_of(&b, path);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 9), 0);
    assert_int_equal(store_open_blob(store, &b, USE_WHOLE, &f, &bi), ERR_NOT_FOUND);
    assert_false(fixture_held(store, &b));
}

static void rows_without_a_file_go_and_files_without_a_row_come(void **state) {
    (void)state;
    struct digest a = fixture_put(store, 8, 10), b;
    char path[512], hidden[512];
    path_of(&a, path);
    shut();
    assert_int_equal(unlink(path), 0);
    char *data = fixture_bytes(9, 50, &b), parent[512];
    path_of(&b, path);
    snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(hidden, sizeof(hidden), "%s/fills/put-3.tmp", dir);
    assert_int_equal(dir_make_all(parent, 0700, NULL), 0);
    assert_int_equal(file_write_atomic(path, 0444, data, 50, NULL), 0);
    assert_int_equal(file_write_atomic(hidden, 0600, data, 50, NULL), 0);
    free(data);
    store = fixture_open(dir, 0);
    assert_false(fixture_held(store, &a));
    assert_true(fixture_held(store, &b));
    assert_int_equal(access(hidden, F_OK), -1);
    uint32_t scope;
    struct blob_info bi;
    assert_int_equal(store_scope(store, "docker.io", &scope), 0);
    assert_false(store_lookup_in(store, &b, scope, &bi));
    store_add_scope(store, &b, scope);
    assert_true(store_lookup_in(store, &b, scope, &bi));
    assert_int_equal(bi.size, 50);
}

static void tags_are_ordered_and_survive(void **state) {
    (void)state;
    struct digest d = fixture_put(store, 10, 7);
    static const char *const names[] = {"v2", "latest", "V1", "1.0", "1.0-a", "1"};
    static const char *const sorted[] = {"1", "1.0", "1.0-a", "V1", "latest"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        set_tag("r/a", names[i], &d);
    store_tag_forget(store, "r/a", "v2");
    for (int round = 0; round < 2; round++) {
        char **out;
        struct tag_facts rec;
        size_t n = store_tags(store, "r/a", "", 100, &out);
        assert_int_equal(n, 5);
        for (size_t i = 0; i < n; i++) {
            assert_string_equal(out[i], sorted[i]);
            free(out[i]);
        }
        free(out);
        assert_int_equal(store_tags(store, "r/a", "1.0", 2, &out), 2);
        assert_string_equal(out[0], "1.0-a");
        free(out[0]);
        free(out[1]);
        free(out);
        assert_int_equal(store_tags(store, "r/b", "", 2, &out), 0);
        free(out);
        assert_true(store_tag_get(store, "r/a", "latest", &rec));
        assert_true(digest_eq(&rec.digest, &d));
        assert_int_equal(rec.checked_at, 123);
        assert_string_equal(rec.media_type, "application/x");
        assert_false(store_tag_get(store, "r/a", "v2", &rec));
        reopen();
    }
}

struct seen {
    unsigned n;
    bool complete;
    int64_t tags, manifests, bytes;
    char name[64];
};

static bool see_repo(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    struct seen *s = arg;
    s->n++;
    s->tags = tags;
    s->manifests = manifests;
    s->bytes = bytes;
    snprintf(s->name, sizeof(s->name), "%s", repo);
    return true;
}

static bool see_tag(const char *tag, const struct tag_facts *rec, bool complete, void *arg) {
    struct seen *s = arg;
    (void)rec;
    s->n++;
    s->complete = complete;
    snprintf(s->name, sizeof(s->name), "%s", tag);
    return true;
}

static void lists_tell_repositories_and_whether_tags_are_complete(void **state) {
    (void)state;
    struct digest layer = fixture_put(store, 11, 7), m;
    put_manifest("{\"b\":1}", "r/c", &layer, 1, &m);
    set_tag("r/c", "t", &m);
    struct seen s = {0};
    struct error err;
    assert_int_equal(store_each_repo(store, see_repo, &s, &err), 0);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.name, "r/c");
    assert_int_equal(s.tags, 1);
    assert_int_equal(s.manifests, 1);
    assert_int_equal(s.bytes, 7);
    s = (struct seen){0};
    assert_int_equal(store_each_tag(store, "r/c", see_tag, &s, &err), 0);
    assert_true(s.n == 1 && s.complete);
    assert_true(store_unreadable(store, &layer, NULL, -EIO));
    assert_int_equal(store_each_tag(store, "r/c", see_tag, &s, &err), 0);
    assert_true(s.n == 2 && !s.complete);
}

static void a_second_process_is_told_who_has_the_folder(void **state) {
    (void)state;
    struct error err = {0};
    struct store *second;
    struct store_config cfg = {.dir = dir};
    char pid[32];
    snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
    assert_int_equal(store_open(&second, &cfg, &err), ERR_BUSY);
    assert_non_null(strstr(err.msg, pid));
    assert_true(err.hint[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_committed_part_is_found_and_survives_reopening),
        T(a_part_is_continued_up_to_its_first_hole),
        T(what_is_taken_ahead_misleads_nobody_and_is_given_back),
        T(little_is_taken_ahead_under_a_small_limit),
        T(a_part_without_a_byte_is_nothing_to_keep),
        T(a_part_that_was_sealed_already_is_continued),
        T(a_commit_of_the_wrong_length_fails_and_keeps_the_part),
        T(manifests_keep_their_media_type),
        T(more_media_types_than_there_is_room_for_lose_nothing),
        T(tags_of_more_media_types_than_there_is_room_for_are_kept),
        T(a_media_type_first_seen_in_a_tag_is_no_damage),
        T(a_scope_whose_name_was_lost_is_not_given_to_another),
        T(a_scope_lasts_as_long_as_something_is_in_it),
        T(any_number_of_scopes_is_kept),
        T(a_dropped_blob_is_gone_for_good),
        T(a_file_that_went_missing_or_changed_size_is_dropped),
        T(rows_without_a_file_go_and_files_without_a_row_come),
        T(tags_are_ordered_and_survive),
        T(lists_tell_repositories_and_whether_tags_are_complete),
        T(a_second_process_is_told_who_has_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
