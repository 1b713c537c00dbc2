/* `make bench-eviction`: byte and object hit ratios of eviction policies on traces of a modelled registry cache, or on
 * one read from a file. README.md says what is modelled. Thread: one. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/bench/eviction/policy.h"

#define SEEDS_MAX 64u
#define N_SIZES 3u
#define GB 1e9

static const int size_percent[N_SIZES] = {5, 10, 25};
static const struct policy *const policies[] = {&policy_lru,    &policy_gdsf,  &policy_lfuda,  &policy_s3fifo,
                                                &policy_queues, &policy_store, &policy_belady, &policy_infinite};
#define N_POLICIES (sizeof(policies) / sizeof(policies[0]))
#define N_ROWS (N_POLICIES + 1) /* and the bound */

enum measure { BYTES, OBJECTS, MANIFESTS, N_MEASURES };

static const char *const measure_names[N_MEASURES] = {"byte hit ratio", "object hit ratio", "manifest hit ratio"};
static const char *const measure_keys[N_MEASURES] = {"bytes", "objects", "manifests"};

struct bench {
    unsigned n_traces;
    double ratio[N_ROWS][N_SIZES][N_MEASURES][SEEDS_MAX]; /* percent; below 0: not known */
    double footprint[SEEDS_MAX], asked[SEEDS_MAX];        /* bytes */
    double objects[SEEDS_MAX], requests[SEEDS_MAX], once[SEEDS_MAX];
};

struct options {
    struct trace_model model;
    unsigned seeds;
    const char *read, *write, *out;
};

/* Percent of the objects that are asked for only once. */
static double asked_once(const struct trace *t) {
    uint8_t *times = calloc(t->n_objects + 1, 1);
    if (!times) abort();
    uint32_t once = 0, seen = 0;
    for (size_t i = 0; i < t->n; i++) {
        uint8_t *n = &times[t->requests[i].object];
        if (*n < 2) ++*n;
    }
    for (uint32_t i = 1; i <= t->n_objects; i++) {
        once += times[i] == 1;
        seen += times[i] > 0;
    }
    free(times);
    return 100.0 * once / seen;
}

static void measure(struct bench *b, const struct trace *t) {
    unsigned k = b->n_traces++;
    int64_t footprint = trace_footprint(t);
    b->footprint[k] = (double)footprint;
    b->asked[k] = (double)trace_bytes(t);
    b->objects[k] = t->n_objects;
    b->requests[k] = (double)t->n;
    b->once[k] = asked_once(t);
    for (unsigned s = 0; s < N_SIZES; s++) {
        int64_t room = footprint / 100 * size_percent[s];
        for (size_t p = 0; p < N_POLICIES; p++) {
            struct result r = policy_run(policies[p], t, room);
            b->ratio[p][s][BYTES][k] = result_bytes(&r);
            b->ratio[p][s][OBJECTS][k] = result_objects(&r);
            b->ratio[p][s][MANIFESTS][k] = result_manifests(&r);
        }
        b->ratio[N_POLICIES][s][BYTES][k] = bound_bytes(t, room);
        b->ratio[N_POLICIES][s][OBJECTS][k] = b->ratio[N_POLICIES][s][MANIFESTS][k] = -1;
    }
}

/* --- what is printed --- */

struct spread {
    double least, mean, most;
};

static struct spread spread_of(const double *v, unsigned n) {
    struct spread s = {v[0], 0, v[0]};
    for (unsigned i = 0; i < n; i++) {
        s.mean += v[i] / n;
        if (v[i] < s.least) s.least = v[i];
        if (v[i] > s.most) s.most = v[i];
    }
    return s;
}

static const char *row_about(size_t row) {
    return row < N_POLICIES ? policies[row]->about : "what no policy can pass (PFOO-L)";
}

static const char *row_key(size_t row) {
    return row < N_POLICIES ? policies[row]->key : "bound";
}

static void print_table(const struct bench *b, enum measure m, FILE *out) {
    fprintf(out, "\n%s [%%], least – mean – most of %u\n%-52s", measure_names[m], b->n_traces,
            "room, of the footprint");
    for (unsigned s = 0; s < N_SIZES; s++)
        fprintf(out, "  %15d %%", size_percent[s]);
    fputc('\n', out);
    for (size_t p = 0; p < N_ROWS; p++) {
        if (b->ratio[p][0][m][0] < 0) continue;
        fprintf(out, "  %-50s", row_about(p));
        for (unsigned s = 0; s < N_SIZES; s++) {
            struct spread v = spread_of(b->ratio[p][s][m], b->n_traces);
            fprintf(out, "  %4.1f – %4.1f – %4.1f", v.least, v.mean, v.most);
        }
        fputc('\n', out);
    }
}

/* Traces differ more than policies do, so a difference is formed within each trace. */
static void print_lead(const struct bench *b, FILE *out) {
    size_t mine = 0;
    while (policies[mine] != &policy_queues)
        mine++;
    fprintf(
        out,
        "\nbyte hit ratio, points of the product's queues above the others in the same trace, least – mean – most\n");
    for (size_t p = 0; p < N_ROWS; p++) {
        if (p == mine) continue;
        fprintf(out, "  %-50s", row_about(p));
        for (unsigned s = 0; s < N_SIZES; s++) {
            double lead[SEEDS_MAX] = {0};
            for (unsigned k = 0; k < b->n_traces; k++)
                lead[k] = b->ratio[mine][s][BYTES][k] - b->ratio[p][s][BYTES][k];
            struct spread v = spread_of(lead, b->n_traces);
            fprintf(out, "  %+5.1f %+5.1f %+5.1f", v.least, v.mean, v.most);
        }
        fputc('\n', out);
    }
}

static void print_text(const struct bench *b, FILE *out) {
    unsigned n = b->n_traces;
    fprintf(out, "%u trace%s, on average: %.0f requests for %.0f GB, of %.0f objects that are %.0f GB in all\n", n,
            n == 1 ? "" : "s", spread_of(b->requests, n).mean, spread_of(b->asked, n).mean / GB,
            spread_of(b->objects, n).mean, spread_of(b->footprint, n).mean / GB);
    fprintf(out, "%.0f %% of the objects are asked for once\n", spread_of(b->once, n).mean);
    for (enum measure m = 0; m < N_MEASURES; m++)
        print_table(b, m, out);
    print_lead(b, out);
}

static void print_numbers(FILE *out, const char *key, const double *v, unsigned n) {
    fprintf(out, "\"%s\": [", key);
    for (unsigned i = 0; i < n; i++)
        fprintf(out, "%s%.3f", i ? ", " : "", v[i]);
    fputc(']', out);
}

static void print_json(const struct bench *b, FILE *out) {
    fputs("{", out);
    print_numbers(out, "footprint", b->footprint, b->n_traces);
    fputs(", ", out);
    print_numbers(out, "asked", b->asked, b->n_traces);
    fputs(", \"rows\": [", out);
    for (size_t p = 0; p < N_ROWS; p++) {
        for (unsigned s = 0; s < N_SIZES; s++) {
            fprintf(out, "%s\n {\"policy\": \"%s\", \"percent\": %d", p + s ? "," : "", row_key(p), size_percent[s]);
            for (enum measure m = 0; m < N_MEASURES; m++) {
                if (b->ratio[p][s][m][0] < 0) continue;
                fputs(", ", out);
                print_numbers(out, measure_keys[m], b->ratio[p][s][m], b->n_traces);
            }
            fputs("}", out);
        }
    }
    fputs("\n]}\n", out);
}

/* --- the command --- */

static FILE *open_or_exit(const char *path, const char *mode) {
    FILE *f = fopen(path, mode);
    if (f) return f;
    fprintf(stderr, "eviction: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void save(const struct bench *b, const char *dir, const char *name,
                 void (*print)(const struct bench *b, FILE *out)) {
    char path[4096];
    mkdir(dir, 0755);
    snprintf(path, sizeof(path), "%s/eviction.%s", dir, name);
    FILE *f = open_or_exit(path, "w");
    print(b, f);
    fclose(f);
}

static struct trace *load(const char *path) {
    FILE *f = open_or_exit(path, "r");
    unsigned long line;
    struct trace *t = trace_read(f, &line);
    fclose(f);
    if (t) return t;
    fprintf(stderr, "eviction: %s: line %lu is not a request\n", path, line);
    exit(1);
}

static void write_trace(const struct options *o) {
    struct trace *t = trace_generate(&o->model);
    FILE *f = open_or_exit(o->write, "w");
    trace_write(t, f);
    fclose(f);
    trace_free(t);
}

static int usage(void) {
    fputs("eviction [--seeds N] [--read TRACE | --write TRACE] [--out FOLDER]\n"
          "         [--seed N] [--days N] [--repos N] [--alpha X] [--nodes N] [--pulls N] [--ci N] [--scan N]\n",
          stderr);
    return 2;
}

static int parse(struct options *o, int argc, char **argv) {
    static const struct option known[] = {
        {"seeds", 1, NULL, 'S'},
        {"read", 1, NULL, 'r'},
        {"write", 1, NULL, 'w'},
        {"out", 1, NULL, 'o'},
        {"seed", 1, NULL, 's'},
        {"days", 1, NULL, 'd'},
        {"repos", 1, NULL, 'R'},
        {"alpha", 1, NULL, 'a'},
        {"nodes", 1, NULL, 'n'},
        {"pulls", 1, NULL, 'p'},
        {"ci", 1, NULL, 'c'},
        {"scan", 1, NULL, 'C'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'S':
            o->seeds = n;
            break;
        case 'r':
            o->read = optarg;
            break;
        case 'w':
            o->write = optarg;
            break;
        case 'o':
            o->out = optarg;
            break;
        case 's':
            o->model.seed = n;
            break;
        case 'd':
            o->model.days = n;
            break;
        case 'R':
            o->model.repos = n;
            break;
        case 'a':
            o->model.alpha = strtod(optarg, NULL);
            break;
        case 'n':
            o->model.nodes = n;
            break;
        case 'p':
            o->model.pulls = n;
            break;
        case 'c':
            o->model.ci = n;
            break;
        case 'C':
            o->model.scan = n;
            break;
        default:
            return -1;
        }
    }
    const struct trace_model *m = &o->model;
    return optind == argc && o->seeds >= 1 && o->seeds <= SEEDS_MAX && m->days && m->days < 1000 && m->repos &&
                   m->nodes && m->nodes < 10000
               ? 0
               : -1;
}

int main(int argc, char **argv) {
    struct options o = {.model = trace_model_default(1), .seeds = 5};
    if (parse(&o, argc, argv) < 0) return usage();
    if (o.write) {
        write_trace(&o);
        return 0;
    }
    struct bench *b = calloc(1, sizeof(*b));
    if (!b) abort();
    for (unsigned i = 0; i < (o.read ? 1 : o.seeds); i++, o.model.seed++) {
        struct trace *t = o.read ? load(o.read) : trace_generate(&o.model);
        measure(b, t);
        trace_free(t);
    }
    print_text(b, stdout);
    if (o.out) {
        save(b, o.out, "txt", print_text);
        save(b, o.out, "json", print_json);
    }
    free(b);
    return 0;
}
