/* Columns, quantities and JSON on a terminal. Thread: main. */
#include "common/cli/print.h"

#include "common/core/printable.h"
#include "common/core/alloc.h"
#include "common/cli/cli.h"

#include <stdarg.h>
#include <string.h>

void table_init(struct table *t, unsigned columns, unsigned right) {
    *t = (struct table){.columns = columns, .right = right};
}

void table_cell(struct table *t, const char *text) {
    char **cells = xrealloc(t->cells, t->n + 1, sizeof(*cells));
    t->cells = cells;
    cells[t->n] = xstrdup(text);
    text_make_printable(cells[t->n++]);
}

void table_cellf(struct table *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_(freep) char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) out_of_memory();
    va_end(ap);
    table_cell(t, text);
}

void table_print(const struct table *t, FILE *out) {
    size_t width[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < t->n; i++) {
        size_t len = strlen(t->cells[i]), c = i % t->columns;
        if (len > width[c]) width[c] = len;
    }
    for (size_t i = 0; i < t->n; i++) {
        unsigned c = (unsigned)(i % t->columns);
        bool last = c == t->columns - 1, right = (t->right >> c & 1) && t->cells[i][0];
        if (right) {
            fprintf(out, "%*s", (int)width[c], t->cells[i]);
        } else {
            fprintf(out, "%-*s", last ? 0 : (int)width[c], t->cells[i]);
        }
        fputs(last ? "\n" : "  ", out);
    }
}

void table_fini(struct table *t) {
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
}

char *size_text(int64_t bytes, char out[SIZE_TEXT_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    size_t u = 0;
    while ((v >= 1024 || v <= -1024) && u < ARRAY_LEN(units) - 1) {
        v /= 1024;
        u++;
    }
    snprintf(out, SIZE_TEXT_MAX, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

char *count_text(int64_t n, const char *noun, char out[SIZE_TEXT_MAX]) {
    snprintf(out, SIZE_TEXT_MAX, "%lld %s%s", (long long)n, noun, n == 1 ? "" : "s");
    return out;
}

char *time_text(int64_t s, char out[SIZE_TEXT_MAX]) {
    if (s < 0) s = 0;
    long long v = (long long)s;
    if (v < 60) {
        snprintf(out, SIZE_TEXT_MAX, "%lld s", v);
    } else if (v < 3600) {
        snprintf(out, SIZE_TEXT_MAX, "%lld min %lld s", v / 60, v % 60);
    } else if (v < 86400) {
        snprintf(out, SIZE_TEXT_MAX, "%lld h %lld min", v / 3600, v / 60 % 60);
    } else {
        snprintf(out, SIZE_TEXT_MAX, "%lld d %lld h", v / 86400, v / 3600 % 24);
    }
    return out;
}

int print_json(json_t *doc) {
    int r = json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    json_decref(doc);
    return r == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int print_failure(const struct command_context *ctx, const struct error *err) {
    fflush(stdout);
    cli_print_error(ctx->program->name, err);
    return EXIT_FAILED;
}

int print_usage(const struct command_context *ctx, const char *fmt, ...) {
    const struct command *c = ctx->command;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s %s: ", ctx->program->name, c->name);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: %s %s%s%s\n", ctx->program->name, c->name, *c->usage ? " " : "", c->usage);
    return EXIT_USAGE;
}
