/* The metrics page, checked as promtool would. */
#include "common/metrics/metrics.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char *page(void) {
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(metrics_render(&b), 0);
    return buf_steal(&b, NULL);
}

/* The number after a sample's name and labels, or -1. */
static double value(const char *text, const char *sample) {
    size_t len = strlen(sample);
    for (const char *p = text; (p = strstr(p, sample)); p += len) {
        if ((p == text || p[-1] == '\n') && p[len] == ' ') return strtod(p + len, NULL);
    }
    return -1;
}

static bool ends(const char *s, size_t len, const char *suffix) {
    size_t n = strlen(suffix);
    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

static void counters_add_up(void **state) {
    (void)state;
    metric_label_add(FAMILY_FETCHED_BYTES, "docker.io", 10);
    metric_label_add(FAMILY_FETCHED_BYTES, "docker.io", 5);
    _cleanup_(freep) char *text = page();
    assert_true(value(text, "entrepot_hits_total") == 0);
    assert_true(value(text, "entrepot_fetched_bytes_total{source=\"docker.io\"}") == 15);
}

static void requests_are_counted_by_endpoint_and_class(void **state) {
    (void)state;
    metric_http("/v2/library/app/manifests/v1?ns=docker.io", 200, 300, 400);
    metric_http("/v2/library/app/manifests/v2", 404, 90, 200);
    metric_http("/v2/library/app/blobs/sha256:00", 206, 2000000, 700000000);
    _cleanup_(freep) char *text = page();
    assert_true(value(text, "entrepot_http_requests_total{endpoint=\"manifest\",code=\"2xx\"}") == 1);
    assert_true(value(text, "entrepot_http_requests_total{endpoint=\"manifest\",code=\"4xx\"}") == 1);
    assert_true(value(text, "entrepot_http_first_byte_seconds_bucket{endpoint=\"manifest\",le=\"0.0001\"}") == 1);
    assert_true(value(text, "entrepot_http_first_byte_seconds_bucket{endpoint=\"manifest\",le=\"0.0005\"}") == 2);
    assert_true(value(text, "entrepot_http_request_seconds_bucket{endpoint=\"blob\",le=\"600\"}") == 0);
    assert_true(value(text, "entrepot_http_request_seconds_bucket{endpoint=\"blob\",le=\"+Inf\"}") == 1);
    assert_true(value(text, "entrepot_http_request_seconds_sum{endpoint=\"blob\"}") == 700);
}

static void set_rows(struct metric_page *p, void *arg) {
    const unsigned *n = arg;
    for (unsigned i = 0; i < *n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "edge-%u", i);
        metric_row(p, ROWS_EDGE_LOAD, name, "a \"site\"", i);
    }
}

static void rows_are_those_of_this_page_and_bounded(void **state) {
    (void)state;
    unsigned n = METRIC_ROWS_MAX + 5;
    metrics_collect(set_rows, &n);
    _cleanup_(freep) char *many = page();
    assert_true(value(many, "entrepot_edge_load_percent{edge=\"edge-4095\",site=\"a \\\"site\\\"\"}") == 4095);
    assert_null(strstr(many, "edge-4096"));
    n = 1;
    _cleanup_(freep) char *one = page();
    assert_true(value(one, "entrepot_edge_load_percent{edge=\"edge-0\",site=\"a \\\"site\\\"\"}") == 0);
    assert_null(strstr(one, "edge-1\""));
    metrics_uncollect(set_rows, &n);
    _cleanup_(freep) char *none = page();
    assert_null(strstr(none, "entrepot_edge_load_percent"));
}

static void targets_tell_their_endpoint(void **state) {
    (void)state;
    static const struct {
        const char *target;
        enum metric_endpoint endpoint;
    } cases[] = {
        {"/v2/", ENDPOINT_BASE},
        {"/v2", ENDPOINT_BASE},
        {"/v2/_catalog?n=5", ENDPOINT_CATALOG},
        {"/v2/a/b/manifests/latest", ENDPOINT_MANIFEST},
        {"/v2/blobs/manifests/latest", ENDPOINT_MANIFEST},
        {"/v2/a/blobs/sha256:00", ENDPOINT_BLOB},
        {"/v2/a/blobs/uploads/", ENDPOINT_UPLOAD},
        {"/v2/a/blobs/uploads/77?digest=x", ENDPOINT_UPLOAD},
        {"/v2/a/tags/list?n=1", ENDPOINT_TAGS},
        {"/v2/a/referrers/sha256:00", ENDPOINT_REFERRERS},
        {"/v2//", ENDPOINT_OTHER},
        {"/v2x/a", ENDPOINT_OTHER},
        {"/", ENDPOINT_OTHER},
        {"", ENDPOINT_OTHER},
        {"/v2/x", ENDPOINT_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(metric_endpoint_of(cases[i].target), cases[i].endpoint);
}

static void label_values_are_bounded_and_escaped(void **state) {
    (void)state;
    char name[32];
    metric_label_add(FAMILY_TOKEN_FETCHES, "a\"b\\c\nd", 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "peer%d", i);
        metric_label_add(FAMILY_TOKEN_FETCHES, name, 1);
    }
    _cleanup_(freep) char *text = page();
    assert_true(value(text, "entrepot_token_fetches_total{upstream=\"a\\\"b\\\\c\\nd\"}") == 1);
    assert_true(value(text, "entrepot_token_fetches_total{upstream=\"other\"}") == 1000 - (METRIC_LABELS_MAX - 2));
}

static void collect(struct metric_page *p, void *arg) {
    metric_set(p, METRIC_HELD_BLOBS, *(const double *)arg);
    metric_set(p, METRIC_EVICTIONS, 7);
    metric_label_set(p, FAMILY_RATE_REMAINING, "docker.io", NULL, 76);
    metric_label_set(p, FAMILY_UPSTREAM_REQUESTS, "docker.io", "ok", 3);
    metric_label_set(p, FAMILY_FETCHED_BYTES, "ghcr.io", NULL, 5);
}

static void gauges_are_there_only_while_someone_sets_them(void **state) {
    (void)state;
    double blobs = 12;
    metric_label_add(FAMILY_FETCHED_BYTES, "ghcr.io", 2);
    metrics_collect(collect, &blobs);
    _cleanup_(freep) char *with = page();
    metrics_uncollect(collect, &blobs);
    _cleanup_(freep) char *without = page();
    assert_true(value(with, "entrepot_held_blobs") == 12);
    assert_true(value(with, "entrepot_evictions_total") == 7);
    assert_true(value(with, "entrepot_upstream_rate_limit_remaining{upstream=\"docker.io\"}") == 76);
    assert_true(value(with, "entrepot_upstream_requests_total{upstream=\"docker.io\",result=\"ok\"}") == 3);
    assert_true(value(with, "entrepot_fetched_bytes_total{source=\"ghcr.io\"}") == 7);
    assert_null(strstr(without, "entrepot_held_blobs"));
    assert_null(strstr(without, "entrepot_upstream_rate_limit_remaining"));
    assert_null(strstr(without, "entrepot_central_reachable"));
}

static void process_is_described(void **state) {
    (void)state;
    _cleanup_(freep) char *text = page();
    assert_true(value(text, "process_resident_memory_bytes") > 100000);
    assert_true(value(text, "process_open_fds") >= 3);
    assert_true(value(text, "process_start_time_seconds") > 1.7e9);
    assert_true(value(text, "process_cpu_seconds_total") >= 0);
}

/* One line of the text format: HELP, then TYPE of the same name, then samples that begin with it. */
struct lint {
    char name[128], type[16];
    bool helped;
    char seen[64][128];
    size_t n_seen;
};

static void lint_head(struct lint *l, const char *line) {
    char word[8], name[128], rest[512];
    assert_int_equal(sscanf(line, "# %7s %127s %511[^\n]", word, name, rest), 3);
    if (strcmp(word, "HELP") == 0) {
        for (size_t i = 0; i < l->n_seen; i++)
            assert_string_not_equal(l->seen[i], name);
        assert_true(l->n_seen < ARRAY_LEN(l->seen));
        strcpy(l->seen[l->n_seen++], name);
        strcpy(l->name, name);
        assert_true(strchr(".", line[strcspn(line, "\n") - 1]) != NULL); /* a sentence */
        l->helped = true;
        return;
    }
    assert_string_equal(word, "TYPE");
    assert_string_equal(name, l->name);
    assert_true(l->helped);
    l->helped = false;
    assert_true(!strcmp(rest, "counter") || !strcmp(rest, "gauge") || !strcmp(rest, "histogram"));
    snprintf(l->type, sizeof(l->type), "%.15s", rest);
    size_t len = strlen(name);
    bool total = ends(name, len, "_total");
    assert_int_equal(total, !strcmp(rest, "counter"));
    if (!strcmp(rest, "histogram")) assert_true(ends(name, len, "_seconds"));
    for (const char *c = name; *c; c++)
        assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
    assert_true(!strncmp(name, "entrepot_", 9) || !strncmp(name, "process_", 8));
}

static void lint_sample(const struct lint *l, const char *line) {
    size_t len = strcspn(line, "{ "), name = strlen(l->name);
    assert_true(len >= name && memcmp(line, l->name, name) == 0);
    if (!strcmp(l->type, "histogram")) {
        assert_true(ends(line, len, "_bucket") || ends(line, len, "_sum") || ends(line, len, "_count"));
    } else {
        assert_int_equal(len, name);
    }
    const char *space = strrchr(line, ' ');
    char *end;
    assert_non_null(space);
    (void)strtod(space + 1, &end);
    assert_true(*end == '\0' && end > space + 1);
}

static void the_metrics_page_passes_promtools_rules(void **state) {
    (void)state;
    double blobs = 1;
    metrics_collect(collect, &blobs);
    _cleanup_(freep) char *text = page();
    metrics_uncollect(collect, &blobs);
    struct lint l = {0};
    char *save = NULL;
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (line[0] == '#') {
            lint_head(&l, line);
        } else {
            lint_sample(&l, line);
        }
    }
    assert_true(l.n_seen > 25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_up),
        cmocka_unit_test(requests_are_counted_by_endpoint_and_class),
        cmocka_unit_test(rows_are_those_of_this_page_and_bounded),
        cmocka_unit_test(targets_tell_their_endpoint),
        cmocka_unit_test(label_values_are_bounded_and_escaped),
        cmocka_unit_test(gauges_are_there_only_while_someone_sets_them),
        cmocka_unit_test(process_is_described),
        cmocka_unit_test(the_metrics_page_passes_promtools_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
