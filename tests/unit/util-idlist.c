/* util/idlist: names, and the order of what is in a list. */
#include "util/idlist.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <stdlib.h>

struct thing {
    struct idlist_node node;
    int number;
};

static struct idlist list;
static char error[256];

static int name(struct thing *thing, const char *id)
{
    return idlist_name(&list, &thing->node, id, "thing", error, sizeof(error));
}

static void check_names(void)
{
    static const char *const good[] = {"a", "Z9", "disk-0.part_1", "#made-up"};
    static const char *const bad[] = {"", "#", "0a", "-a", "a b", "a,b", "##a", "a#", "\xc3\xa4"};
    char text[IDLIST_MAX + 2];
    struct thing thing = {.number = 1};
    unsigned wrong = 0;

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        wrong += name(&thing, good[i]) != 0 || strcmp(thing.node.id, good[i]) != 0;
        free(thing.node.id);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wrong += name(&thing, bad[i]) != -EINVAL;
    }
    tap_eq(wrong, 0, "ids begin with a letter");
    tap_str(error, "thing: id=\xc3\xa4: expected a letter, then letters, digits, '-', '.' or '_'",
            "as the message says");
    memset(text, 'x', sizeof(text));
    text[IDLIST_MAX + 1] = 0;
    tap_eq(-name(&thing, text), EINVAL, "too long");
    text[IDLIST_MAX] = 0;
    tap_eq(name(&thing, text), 0, "just not");
    free(thing.node.id);
}

/* The numbers of what is in the list. */
static int order(void)
{
    const struct thing *thing;
    int digits = 0;

    for (unsigned n = 0; (thing = idlist_at(&list, n)); n++) {
        digits = digits * 10 + thing->number;
    }
    return digits;
}

static void check_order(void)
{
    static const char *const ids[] = {"one", "two", "three"};
    struct thing things[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};

    for (unsigned i = 0; i < 3; i++) {
        if (name(&things[i], ids[i]) == 0) {
            idlist_add(&list, &things[i].node);
        }
    }
    tap_eq(order(), 123, "in the order of their making");
    tap_ok(idlist_find(&list, "two") == &things[1] && !idlist_find(&list, "twos"), "by name");
    tap_eq(-name(&things[3], "two"), EEXIST, "a name is there once");
    tap_str(error, "thing: id=two: there is one with this id already", "as the message says");
    idlist_remove(&list, &things[1].node);
    tap_eq(order(), 13, "one less");
    tap_eq(name(&things[3], "two"), 0, "and its name is free");
    idlist_add(&list, &things[3].node);
    tap_eq(order(), 134, "for another one");
    idlist_remove(&list, &things[0].node);
    idlist_remove(&list, &things[3].node);
    idlist_remove(&list, &things[2].node);
    tap_ok(!list.first && !idlist_at(&list, 0) && !idlist_find(&list, "one"), "empty");
    for (unsigned i = 0; i < 4; i++) {
        free(things[i].node.id);
    }
}

int main(void)
{
    check_names();
    check_order();
    return tap_done();
}
