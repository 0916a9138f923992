import { createBrowserRouter } from 'react-router';

import { Broken } from './layout/Broken';
import { NotFound } from './layout/NotFound';
import { Shell } from './layout/Shell';

/** Each page is a file of its own to the browser: charts and editor load where they are needed. */
const page = (load: () => Promise<{ default: React.ComponentType }>) => async () => ({
  Component: (await load()).default,
});

export const router = createBrowserRouter([
  { path: '/signin', lazy: page(() => import('./pages/signin/SignIn')), errorElement: <Broken /> },
  {
    element: <Shell />,
    errorElement: <Broken />,
    hydrateFallbackElement: <></>,
    children: [
      { index: true, lazy: page(() => import('./pages/overview/Overview')) },
      { path: 'policies', lazy: page(() => import('./pages/policies/Policies')) },
      { path: 'policies/:id', lazy: page(() => import('./pages/policy/PolicyPage')) },
      { path: 'audit', lazy: page(() => import('./pages/audit/Audit')) },
      { path: 'violations', lazy: page(() => import('./pages/violations/Violations')) },
      { path: 'fleet', lazy: page(() => import('./pages/fleet/Fleet')) },
      { path: '*', element: <NotFound /> },
    ],
  },
]);
