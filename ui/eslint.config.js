import js from '@eslint/js';
import hooks from 'eslint-plugin-react-hooks';
import globals from 'globals';
import ts from 'typescript-eslint';

export default ts.config(
  { ignores: ['dist', 'src/api/openapi.ts', 'test-results', 'playwright-report', '.scratch'] },
  js.configs.recommended,
  ...ts.configs.strict,
  hooks.configs.flat['recommended-latest'],
  {
    languageOptions: { globals: { ...globals.browser } },
    rules: {
      'max-lines': ['error', { max: 350, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      // It warns of what the React Compiler would skip, and that is not used here.
      'react-hooks/incompatible-library': 'off',
    },
  },
  // Tests tell figures.
  { files: ['tests/**'], rules: { 'no-console': 'off' } },
);
