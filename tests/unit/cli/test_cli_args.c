// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/anchor.h"
#include "cli/args.h"
#include "runtime/base/mem.h"

struct got {
    struct cli cli;
    bool a, b, c;
    const char *text;
    struct strv list;
    uint32_t number;
    struct args args;
};

static const struct usage any = {.line = "test", .summary = "test", .max = -1};
static const struct usage stops = {
    .line = "test", .summary = "test", .max = -1, .stop_at_operand = true};
static const struct usage one = {.line = "test", .summary = "test", .min = 1, .max = 1};

static int run(struct got *g, const struct usage *u, char **argv) {
    memset(g, 0, sizeof *g);
    g->c = true;
    const struct opt opts[] = {
        {'a', "aaa", NULL, OPT_FLAG, &g->a, "a"},
        {'f', "follow", NULL, OPT_FLAG, &g->b, "b"},
        {0, "no-c", NULL, OPT_CLEAR, &g->c, "c"},
        {'t', "text", "T", OPT_TEXT, &g->text, "t"},
        {'l', "list", "L", OPT_LIST, &g->list, "l"},
        {'n', "number", "N", OPT_NUMBER, &g->number, "n"},
        {0},
    };
    int argc = 0;
    while (argv[argc]) argc++;
    return args_parse(&g->cli, u, opts, true, argc, argv, &g->args);
}

static void done(struct got *g) {
    strv_fini(&g->list);
    strv_fini(&g->cli.project.files);
    strv_fini(&g->cli.project.profiles);
    mem_free(g->args.operands);
}

#define ARGV(...) ((char *[]){(char[]){"test"}, __VA_ARGS__, NULL})
#define S(s) ((char[]){s})

static void test_options_in_every_spelling(void **state) {
    (void) state;
    struct got g;
    assert_int_equal(run(&g, &any,
                         ARGV(S("-af"), S("x"), S("--text=1"), S("-l"), S("p"), S("-lq"),
                              S("--no-c"), S("--number"), S("7"), S("--"), S("-z"))),
                     0);
    assert_true(g.a && g.b && !g.c);
    assert_string_equal(g.text, "1");
    assert_int_equal(g.list.n, 2);
    assert_string_equal(g.list.v[1], "q");
    assert_int_equal(g.number, 7);
    assert_int_equal(g.args.n, 2);
    assert_string_equal(g.args.operands[0], "x");
    assert_string_equal(g.args.operands[1], "-z");
    assert_null(g.args.operands[2]);
    done(&g);
}

/* -f is --follow here; the Compose file is still to be had as --file. */
static void test_a_verbs_letter_wins_over_the_common_one(void **state) {
    (void) state;
    struct got g;
    assert_int_equal(
        run(&g, &any, ARGV(S("-f"), S("--file"), S("a.yaml"), S("-pshop"), S("--run-dir=/r"))), 0);
    assert_true(g.b);
    assert_int_equal(g.cli.project.files.n, 1);
    assert_string_equal(g.cli.project.name, "shop");
    assert_string_equal(g.cli.run_dir, "/r");
    done(&g);
}

static void test_options_behind_the_command_are_the_commands(void **state) {
    (void) state;
    struct got g;
    assert_int_equal(run(&g, &stops, ARGV(S("-a"), S("web"), S("ls"), S("-t"), S("--aaa"))), 0);
    assert_int_equal(g.args.n, 4);
    assert_string_equal(g.args.operands[2], "-t");
    assert_null(g.text);
    done(&g);
}

static void test_wrong_options_are_usage_errors(void **state) {
    (void) state;
    struct got g;
    char **bad[] = {
        ARGV(S("-z"), S("x")),          ARGV(S("--nope"), S("x")),
        ARGV(S("x"), S("-t")),          ARGV(S("x"), S("--text")),
        ARGV(S("x"), S("--aaa=1")),     ARGV(S("x"), S("-n"), S("-1")),
        ARGV(S("x"), S("-n"), S("1x")), ARGV(S("x"), S("-n4294967296")),
        ARGV(S("x"), S("y")),           ARGV(S("-a")),
    };
    for (size_t i = 0; i < array_len(bad); i++) {
        assert_int_equal(run(&g, &one, bad[i]), EXIT_USAGE);
        assert_null(g.args.operands);
        strv_fini(&g.list);
    }
}

static void test_help_is_no_error(void **state) {
    (void) state;
    struct got g;
    int r = run(&g, &one, ARGV(S("--help")));
    assert_int_equal(r, ARGS_HELP);
    assert_int_equal(args_exit(r), EXIT_OK);
    assert_int_equal(args_exit(EXIT_USAGE), EXIT_USAGE);
}

static void test_global_options_stop_at_the_verb(void **state) {
    (void) state;
    struct cli cli = {0};
    struct args args = {0};
    char **argv = ARGV(S("-f"), S("x.yaml"), S("--profile"), S("p"), S("logs"), S("-f"));
    assert_int_equal(args_parse_global(&cli, 7, argv, &args), 0);
    assert_int_equal(args.n, 2);
    assert_string_equal(args.operands[0], "logs");
    assert_string_equal(args.operands[1], "-f");
    assert_int_equal(cli.project.files.n, 1);
    mem_free(args.operands);
    strv_fini(&cli.project.files);
    strv_fini(&cli.project.profiles);
    assert_int_equal(args_parse_global(&cli, 2, ARGV(S("--version")), &args), 0);
    assert_string_equal(args.operands[0], "version");
    mem_free(args.operands);
}

static void test_format_is_table_or_json(void **state) {
    (void) state;
    bool json;
    assert_int_equal(args_format(&any, NULL, &json), 0);
    assert_false(json);
    assert_int_equal(args_format(&any, "json", &json), 0);
    assert_true(json);
    assert_int_equal(args_format(&any, "xml", &json), EXIT_USAGE);
}

static void test_unit_is_known_by_its_cgroup(void **state) {
    (void) state;
    static const struct {
        const char *text;
        bool unit;
    } cases[] = {
        {"0::/system.slice/orlop.service\n", true},
        {"12:memory:/x\n1:name=systemd:/system.slice/orlop.service\n0::/\n", true},
        {"0::/orlop.service", true},
        {"0::/user.slice/user-0.slice/session-1.scope\n", false},
        {"0::/system.slice/not-orlop.service\n", false},
        {"0::/system.slice/orlop.service/below\n", false},
        {"0::/system.slice/orlop.service.d\n", false},
        {"", false},
    };
    for (size_t i = 0; i < array_len(cases); i++)
        assert_int_equal(anchor_cgroup_is_unit(cases[i].text), cases[i].unit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_in_every_spelling),
        cmocka_unit_test(test_a_verbs_letter_wins_over_the_common_one),
        cmocka_unit_test(test_options_behind_the_command_are_the_commands),
        cmocka_unit_test(test_wrong_options_are_usage_errors),
        cmocka_unit_test(test_help_is_no_error),
        cmocka_unit_test(test_global_options_stop_at_the_verb),
        cmocka_unit_test(test_format_is_table_or_json),
        cmocka_unit_test(test_unit_is_known_by_its_cgroup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
