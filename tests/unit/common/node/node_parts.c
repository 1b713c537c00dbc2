/* Parts start in order, stop in the reverse, and a start that fails leaves nothing behind. */
#include "common/node/node_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was called, in order: "start a", "stop a". */
static char said[512];
static const char *fails; /* the name of a part that cannot start */

static void say(const char *verb, const char *name) {
    size_t len = strlen(said);
    snprintf(said + len, sizeof(said) - len, "%s%s %s", len ? ", " : "", verb, name);
}

static int begin(const char *name, void **self, struct error *err) {
    if (fails && strcmp(fails, name) == 0) return error_set(err, ERR_INVALID, "%s has no disk", name);
    say("start", name);
    *self = strdup(name);
    return *self ? 0 : ERR_INTERNAL;
}

static void running(void *self) {
    say("run", self);
}

static void ending(void *self) {
    say("end", self);
}

static void stop(void *self) {
    say("stop", self);
    free(self);
}

static void status(json_t *into, void *self) {
    json_object_set_new(into, self, json_true());
}

static void doctor(json_t *into, void *self) {
    json_object_set_new(into, self, json_false());
}

static void ready(json_t *into, void *self) {
    json_object_set_new(into, self, json_integer(1));
}

static void answer(struct http_req *req, void *arg) {
    (void)req;
    (void)arg;
}

#define PART(name_)                                                            \
    static int start_##name_(struct node *n, void **self, struct error *err) { \
        (void)n;                                                               \
        return begin(#name_, self, err);                                       \
    }
PART(a)
PART(b)
PART(c)

static const struct route b_routes[] = {{"/b", METHODS_READ, PORT_ADMIN, answer}, {0}};
static const struct node_part a = {.name = "a", .start = start_a, .running = running, .ending = ending, .stop = stop};
static const struct node_part b = {.name = "b",
                                   .start = start_b,
                                   .stop = stop,
                                   .routes = b_routes,
                                   .status = status,
                                   .doctor = doctor,
                                   .ready = ready};
static const struct node_part c = {
    .name = "c", .start = start_c, .running = running, .ending = ending, .stop = stop, .status = status};
static const struct node_part *const list[] = {&a, &b, &c, NULL};

static int set_up(void **state) {
    (void)state;
    said[0] = '\0';
    fails = NULL;
    return 0;
}

static void parts_start_in_order_and_stop_in_reverse(void **state) {
    (void)state;
    struct node n = {0};
    struct error err = {0};
    assert_int_equal(parts_start(&n, list, &err), 0);
    parts_running(&n);
    parts_ending(&n);
    parts_stop(&n);
    assert_string_equal(said, "start a, start b, start c, run a, run c, end c, end a, stop c, stop b, stop a");
    parts_stop(&n); /* nothing is stopped twice */
    assert_string_equal(said, "start a, start b, start c, run a, run c, end c, end a, stop c, stop b, stop a");
}

static void a_failed_start_stops_those_before_it_and_is_told(void **state) {
    (void)state;
    static const struct {
        const char *fails, *said, *msg;
    } cases[] = {
        {"a", "", "a has no disk"},
        {"b", "start a, stop a", "b has no disk"},
        {"c", "start a, start b, stop b, stop a", "c has no disk"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct node n = {0};
        struct error err = {0};
        set_up(state);
        fails = cases[i].fails;
        assert_int_equal(parts_start(&n, list, &err), ERR_INVALID);
        assert_string_equal(err.msg, cases[i].msg);
        assert_string_equal(said, cases[i].said);
        assert_int_equal(n.n_parts, 0);
    }
}

static void parts_are_asked_for_routes_status_and_facts(void **state) {
    (void)state;
    struct node n = {0};
    struct error err = {0};
    struct route_table t = {0};
    struct route_hit hit;
    assert_int_equal(parts_start(&n, list, &err), 0);
    assert_string_equal(node_part(&n, &b), "b");
    parts_routes(&n, &t);
    assert_int_equal(routes_find(&t, PORT_ADMIN, "/b?x=1", HTTP_HEAD, &hit), ROUTE_FOUND);
    assert_string_equal(hit.arg, "b");
    json_t *doc = json_object(), *facts = json_object(), *ready_facts = json_object();
    parts_status(&n, doc);
    parts_doctor(&n, facts);
    parts_ready(&n, ready_facts);
    assert_int_equal(json_object_size(doc), 2);
    assert_true(json_is_true(json_object_get(doc, "c")));
    assert_true(json_is_false(json_object_get(facts, "b")));
    json_decref(doc);
    assert_int_equal(json_integer_value(json_object_get(ready_facts, "b")), 1);
    json_decref(ready_facts);
    json_decref(facts);
    parts_stop(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(parts_start_in_order_and_stop_in_reverse, set_up),
        cmocka_unit_test_setup(a_failed_start_stops_those_before_it_and_is_told, set_up),
        cmocka_unit_test_setup(parts_are_asked_for_routes_status_and_facts, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
