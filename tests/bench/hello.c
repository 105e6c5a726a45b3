/* The shortest program there is: what start-up costs. */
#include <stdio.h>

int main(void)
{
    puts("hello");
    return 0;
}
