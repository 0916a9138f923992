import { readFile } from 'node:fs/promises';

import openapiTS, { COMMENT_HEADER, astToString } from 'openapi-typescript';
import { expect, it } from 'vitest';

it("the pages' types are those of the server's description (npm run types)", async () => {
  const described = new URL('../../../schemas/openapi/openapi.json', import.meta.url);
  const types = astToString(await openapiTS(described));
  const kept = await readFile(new URL('./openapi.ts', import.meta.url), 'utf8');
  expect(kept).toBe(COMMENT_HEADER + types);
});
