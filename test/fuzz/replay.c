/*
 * replay.c
 *	  Gives each file named to the fuzz target that it is linked with; for
 *	  compilers without libFuzzer.
 */
#include "backend.h"

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");
		uint8_t    *data;
		long		size;

		check(file != NULL && fseek(file, 0, SEEK_END) == 0, argv[i]);
		size = ftell(file);
		rewind(file);
		data = malloc(size + 1);
		check(fread(data, 1, size, file) == size, argv[i]);
		fclose(file);
		fprintf(stderr, "%s\n", argv[i]);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%d inputs\n", argc - 1);
	return 0;
}
