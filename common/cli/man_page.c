/* The man page: every command with its options and examples, then the common options. Thread: main. */
#include "common/cli/command_docs.h"

#include <ctype.h>
#include <string.h>

#include "common/core/version.h"

/* Text as roff shows it letter by letter: a hyphen stays one that can be copied, and no line becomes a request. An
 * empty line begins a paragraph. */
static void text(FILE *out, const char *s) {
    for (bool start = true; *s; start = *s++ == '\n') {
        if (start && *s == '\n') fputs(".PP", out);
        if (start && (*s == '.' || *s == '\'')) fputs("\\&", out);
        if (*s == '-')
            fputs("\\-", out);
        else if (*s == '\\')
            fputs("\\e", out);
        else
            fputc(*s, out);
    }
}

static void line(FILE *out, const char *before, const char *s, const char *after) {
    fputs(before, out);
    text(out, s);
    fputs(after, out);
    fputc('\n', out);
}

static void upper(FILE *out, const char *s) {
    for (; *s; s++) {
        if (*s == '-') fputc('\\', out);
        fputc(toupper((unsigned char)*s), out);
    }
}

static void option(FILE *out, const struct command_option *o) {
    fputs(".TP\n\\fB", out);
    text(out, o->name);
    fputs("\\fR", out);
    if (o->value) line(out, " \\fI", o->value, "\\fR");
    if (!o->value) fputc('\n', out);
    line(out, "", o->meaning, ".");
}

/* Option lists are indented below the command's text. */
static void options(FILE *out, const struct command *c) {
    if (c->n_options == 0) return;
    fputs(".RS\n", out);
    for (size_t i = 0; i < c->n_options; i++)
        option(out, &c->options[i]);
    fputs(".RE\n", out);
}

static void examples(FILE *out, const struct cli_program *p, const struct command *c) {
    for (size_t i = 0; i < cli_examples(p, c); i++) {
        fputs(".PP\n.RS 4\n.nf\n", out);
        line(out, "", p->name, " \\c");
        line(out, "", c->examples[i].line, "");
        fputs(".fi\n", out);
        line(out, "", c->examples[i].what, ".");
        fputs(".RE\n", out);
    }
}

static void command(FILE *out, const struct cli_program *p, const struct command *c) {
    line(out, ".SS \"", c->name, "\"");
    fputs("\\fB", out);
    text(out, c->name);
    fputs("\\fR", out);
    line(out, *c->usage ? " " : "", c->usage, "");
    line(out, ".PP\n", c->summary, ".");
    if (c->description) line(out, ".PP\n", c->description, "");
    options(out, c);
    examples(out, p, c);
}

static void head(FILE *out, const struct cli_program *p) {
    fputs(".\\\" Made by `command-docs man` from the tables of commands.\n.TH ", out);
    upper(out, p->name);
    line(out, " 1 \"\" \"Entrepot ", entrepot_version, "\" \"Entrepot\"");
    fputs(".SH NAME\n", out);
    line(out, "", p->name, " \\- \\c");
    line(out, "", p->summary, "");
    line(out, ".SH SYNOPSIS\n\\fB", p->name, "\\fR [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...");
}

static void tail(FILE *out, const struct cli_program *p) {
    line(out, ".SH FILES\n.TP\n\\fI", p->config_file, "\\fR");
    line(out, "", "The configuration, in YAML. It may be absent; every key has a default. --config names another file",
         ".");
    line(out, ".TP\n\\fI/var/lib/entrepot/", p->kind == NODE_CENTRAL ? "central" : "edge", "\\fR");
    line(out, "", "What the node keeps, unless the configuration says otherwise", ".");
    fputs(".SH \"EXIT STATUS\"\n", out);
    line(out, "", "0: done. 1: failed, also for a wrong configuration. 2: wrong usage", ".");
    fputs(".SH \"SEE ALSO\"\n", out);
    line(out, "\\fB", p->kind == NODE_CENTRAL ? "entrepot-edge" : "entrepot-central", "\\fR(1)");
}

void man_page_write(FILE *out, const struct cli_program *p) {
    head(out, p);
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < p->n_commands; i++) {
        if (cli_command_fits(p, p->commands[i]) && !p->commands[i]->hidden) command(out, p, p->commands[i]);
    }
    line(out, ".SH OPTIONS\n", "These may stand before or after the command", ".");
    for (size_t i = 0; i < cli_n_options; i++)
        option(out, &cli_options[i]);
    tail(out, p);
}
