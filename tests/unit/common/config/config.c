/* The YAML reader against hostile text, and the committed documents against the schema they come from. */
#include "common/config/config.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <yaml.h>

#include "central/config/central_config.h"
#include "common/core/file.h"
#include "common/config/config_tree.h"
#include "edge/config/edge_config.h"

static const struct config_place base = {.origin = "f", .line = 1, .column = 1};

static void refuses_bytes(const char *text, size_t len, const char *words) {
    struct config_node *n = NULL;
    struct error err = {0};
    assert_int_equal(config_tree_parse(text, len, &base, &n, &err), ERR_INVALID);
    assert_null(n);
    if (strncmp(err.msg, "f:", 2) || !strstr(err.msg, words)) fail_msg("\"%s\" not in: %s", words, err.msg);
}

static void refuses(const char *text, const char *words) {
    refuses_bytes(text, strlen(text), words);
}

static void every_value_knows_its_line_and_column(void **state) {
    (void)state;
    static const char text[] = "# x\na:\n  b: [ 1, \"two\" ]\n";
    struct config_node *n = NULL;
    struct error err = {0};
    assert_int_equal(config_tree_parse(text, strlen(text), &base, &n, &err), 0);
    const struct config_node *b = config_map_get(config_map_get(n, "a"), "b");
    assert_int_equal(b->n, 2);
    assert_int_equal(b->items[1]->place.line, 3);
    assert_int_equal(b->items[1]->place.column, 11);
    assert_true(b->items[1]->quoted);
    assert_false(b->items[0]->quoted);
    config_tree_free(n);
    assert_int_equal(config_tree_parse("# nothing\n", 10, &base, &n, &err), 0);
    assert_null(n);
}

static void hostile_text_is_refused_with_its_place(void **state) {
    (void)state;
    refuses("a: 1\nb: 2\na: 3\n", "f:3:1: key \"a\" is given twice; it was set before at line 1");
    refuses("a: { b: 1, \"b\": 2 }\n", "given twice");
    refuses("a:\n\tb: 1\n", "f:2:1: not valid YAML: a tab indents this line; indent it with spaces");
    refuses("\xc3\xa9: 1\na:\n  b: 1\n \tc: 2\n", "a tab indents this line");
    refuses("\t", "a tab indents this line");
    refuses("a: 1\n---\nb: 2\n", "f:2:1: a second document");
    refuses("---\n---\n", "a second document");
    refuses("a: &x 1\nb: *x\n", "f:1:4: anchors");
    refuses("b: *x\n", "anchors");
    refuses("a: !!int 1\n", "tags");
    refuses("? [a]\n: 1\n", "must be a word");
    refuses("{ {a: b}: 1 }\n", "must be a word");
    refuses("a: \"x\\0y\"\n", "NUL character");
    refuses("a: \"x\\ny\"\n", "line break");
    refuses("a: |\n  x\n  y\n", "line break");
    refuses("a: [\n", "not valid YAML");
    refuses("a: b: c\n", "f:1:5: not valid YAML: a key cannot stand here, but a colon makes it one");
    refuses("a: b\n  c: d\n", "f:2:4: not valid YAML: a key cannot stand here");
    refuses("\ta: b\n", "not valid YAML");
    refuses_bytes("a: b\0c\n", 7, "f:1:5: control character 0x00");
    refuses_bytes("ok: 1\na: \x1b[2J\n", 15, "f:2:4: control character 0x1b");
    refuses_bytes("a: \xff\xfe\n", 6, "f:1:4: byte 0xff is not valid UTF-8");
    refuses_bytes("\xff\xfe"
                  "a\0",
                  4, "not valid UTF-8");
    refuses_bytes("a: \xc0\xaf\n", 6, "not valid UTF-8");
    refuses_bytes("a: \xed\xa0\x80\n", 7, "not valid UTF-8");
    refuses_bytes("a: \xf4\x90\x80\x80\n", 8, "not valid UTF-8");
    refuses_bytes("a: \xe2\x82", 5, "not valid UTF-8");
}

/* Text of CONFIG_TEXT_MAX bytes that repeats a pattern. */
static char *flood(const char *pattern) {
    char *text = malloc(CONFIG_TEXT_MAX);
    assert_non_null(text);
    size_t len = strlen(pattern);
    for (size_t i = 0; i < CONFIG_TEXT_MAX; i++)
        text[i] = pattern[i % len];
    return text;
}

/* What libyaml was asked for in turn; the parser's calls come by here. */
static unsigned n_events;

int yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event) {
    int (*real)(yaml_parser_t *, yaml_event_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "yaml_parser_parse");
    assert_non_null(real);
    n_events++;
    return real(parser, event);
}

static void hostile_documents_are_read_no_further_than_the_limits(void **state) {
    (void)state;
    /* A list or map begins and ends; stream and document do, too, and the first that is too much is looked at. */
    const unsigned most = 2 * CONFIG_NODES_MAX + 5;
    unsigned highest = 0;
    static const char *const patterns[] = {"[",      "{",       "- ", "? ",  "a: {",  "[[],",  "- - -\n", "a:\n ",
                                           "x",      "\"",      "'",  "&a ", "[a,",   "*a ",   "? a\n",   "---\n",
                                           "%A b\n", "# c\n",   " ",  "\n",  "- a\n", "!a ",   "&a a\n",  "a: b\n",
                                           "[a: ",   "\"\\x41", "-",  ": ",  "|\n",   "> \n ", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        char *text = flood(patterns[i]);
        struct config_node *n = NULL;
        struct error err = {0};
        n_events = 0;
        int r = config_tree_parse(text, CONFIG_TEXT_MAX, &base, &n, &err);
        if (r == 0) config_tree_free(n);
        if (n_events == 0 || n_events > most) fail_msg("pattern %zu: %u events of libyaml", i, n_events);
        if (n_events > highest) highest = n_events;
        free(text);
    }
    assert_true(highest > CONFIG_NODES_MAX); /* one of them comes as far as that */
}

static void size_depth_and_number_are_bounded(void **state) {
    (void)state;
    char *text = calloc(1, CONFIG_TEXT_MAX + 2);
    memset(text, '#', CONFIG_TEXT_MAX + 1);
    refuses_bytes(text, CONFIG_TEXT_MAX + 1, "longer than");
    free(text);
    refuses("[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "f:1:17: nested more than 16 deep");
    text = flood("- a\n");
    refuses_bytes(text, CONFIG_TEXT_MAX, "more than 100000 values");
    free(text);
}

/* --- the documents --- */

static const struct {
    const struct config_schema *schema;
    const char *program, *file, *example;
    int (*load)(const struct config_source *src, struct node_config **out, struct error *err);
    void (*unload)(struct node_config *node);
} nodes[] = {
    {&central_config_schema, "entrepot-central", CENTRAL_CONFIG_FILE, "deploy/central.yaml", central_config_load,
     central_config_free},
    {&edge_config_schema, "entrepot-edge", EDGE_CONFIG_FILE, "deploy/edge.yaml", edge_config_load, edge_config_free},
};

static void equals_committed(const struct buf *made, const char *path) {
    struct error err = {0};
    char *data = NULL;
    size_t len = 0;
    if (file_read_all(path, 1 << 20, &data, &len, &err) < 0) fail_msg("%s (run from the top of the tree)", err.msg);
    if (len != made->len || memcmp(data, made->data, len))
        fail_msg("%s is not what the schema gives: run `make docs`", path);
    free(data);
}

static void committed_reference_page_is_the_schemas(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(config_docs_intro(&out), 0);
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        assert_int_equal(config_docs_markdown(nodes[i].schema, nodes[i].program, nodes[i].file, &out), 0);
    equals_committed(&out, "docs/configuration.md");
    buf_fini(&out);
}

static void committed_examples_are_the_schemas(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(config_docs_example(nodes[i].schema, nodes[i].program, nodes[i].file, &out), 0);
        equals_committed(&out, nodes[i].example);
        buf_fini(&out);
    }
}

static void examples_load_as_they_are_and_with_every_key_on(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        struct node_config *node = NULL;
        struct error err = {0};
        struct config_source src = {.file = nodes[i].example};
        if (nodes[i].load(&src, &node, &err) < 0) fail_msg("%s", err.msg);
        assert_int_equal(node->n_no_effect, 0);
        nodes[i].unload(node);

        char *text = NULL, path[] = "/tmp/entrepot-XXXXXX";
        size_t len = 0, n = 0;
        assert_int_equal(file_read_all(nodes[i].example, 1 << 20, &text, &len, &err), 0);
        char *on = malloc(len + 1);
        for (size_t j = 0; j < len; j++) {
            if (text[j] != '#' || (j && text[j - 1] != '\n')) on[n++] = text[j];
        }
        int fd = mkstemp(path);
        assert_true(fd >= 0 && write(fd, on, n) == (ssize_t)n);
        close(fd);
        src.file = path;
        int r = nodes[i].load(&src, &node, &err);
        unlink(path);
        if (r < 0) fail_msg("%s", err.msg);
        assert_string_equal(node->data, "/srv/entrepot");
        assert_int_equal(node->n_no_effect, i == 0 ? 1 : 2);
        nodes[i].unload(node);
        free(text);
        free(on);
    }
}

static void data_folder_is_systemds_or_roots_or_the_users(void **state) {
    (void)state;
    char *path = NULL;
    struct error err = {0};
    setenv("STATE_DIRECTORY", "/var/lib/entrepot/edge:/other", 1);
    assert_int_equal(config_default_data("edge", &path, &err), 0);
    assert_string_equal(path, "/var/lib/entrepot/edge");
    free(path);
    unsetenv("STATE_DIRECTORY");
    setenv("XDG_DATA_HOME", "/home/x/data", 1);
    assert_int_equal(config_default_data("edge", &path, &err), 0);
    assert_string_equal(path, geteuid() == 0 ? "/var/lib/entrepot/edge" : "/home/x/data/entrepot/edge");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_knows_its_line_and_column),
        cmocka_unit_test(hostile_text_is_refused_with_its_place),
        cmocka_unit_test(hostile_documents_are_read_no_further_than_the_limits),
        cmocka_unit_test(size_depth_and_number_are_bounded),
        cmocka_unit_test(committed_reference_page_is_the_schemas),
        cmocka_unit_test(committed_examples_are_the_schemas),
        cmocka_unit_test(examples_load_as_they_are_and_with_every_key_on),
        cmocka_unit_test(data_folder_is_systemds_or_roots_or_the_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
