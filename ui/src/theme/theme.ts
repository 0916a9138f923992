import {
  Autocomplete,
  Badge,
  Button,
  Card,
  Drawer,
  Menu,
  Modal,
  MultiSelect,
  Notification,
  Paper,
  SegmentedControl,
  Select,
  Tabs,
  TextInput,
  Tooltip,
  createTheme,
  type CSSVariablesResolver,
  type MantineColorsTuple,
} from '@mantine/core';

const water: MantineColorsTuple = [
  '#e6f7f9',
  '#d3ecf0',
  '#a8d9e1',
  '#79c5d1',
  '#54b4c4',
  '#3aa9bc',
  '#2393a6',
  '#0f7c8e',
  '#0b6e7f',
  '#075563',
];

/** Mantine's greys with some blue, so that inputs and cards belong together in the dark. */
const dark: MantineColorsTuple = [
  '#d5dee6',
  '#b3c0cb',
  '#8fa0ad',
  '#6b7d8b',
  '#42525f',
  '#34424e',
  '#1c252e',
  '#141b22',
  '#10171d',
  '#0b1015',
];

const CLEAR = { 'aria-label': 'Clear' };

export const theme = createTheme({
  primaryColor: 'water',
  primaryShade: { light: 8, dark: 7 },
  colors: { water, dark },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  fontFamily:
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif',
  fontFamilyMonospace:
    'ui-monospace, SFMono-Regular, "Cascadia Mono", "Liberation Mono", "DejaVu Sans Mono", Menlo, monospace',
  headings: {
    fontWeight: '650',
    sizes: { h1: { fontSize: '1.5rem' }, h2: { fontSize: '1.1rem' } },
  },
  components: {
    Button: Button.extend({ defaultProps: { size: 'sm' } }),
    Card: Card.extend({ defaultProps: { withBorder: true, padding: 'lg', radius: 'lg' } }),
    Paper: Paper.extend({ defaultProps: { radius: 'lg' } }),
    Badge: Badge.extend({ defaultProps: { radius: 'sm', tt: 'none', fw: 600 } }),
    // Its first item has the focus then: what Mantine focuses instead is nothing to who can't see it.
    Menu: Menu.extend({ defaultProps: { withInitialFocusPlaceholder: false } }),
    Modal: Modal.extend({
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        centered: true,
        radius: 'lg',
        overlayProps: { backgroundOpacity: 0.45, blur: 2 },
      },
      styles: { title: { fontWeight: 650, fontSize: '1.05rem' } },
    }),
    Drawer: Drawer.extend({
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        overlayProps: { backgroundOpacity: 0.3 },
      },
      styles: { title: { fontWeight: 650, fontSize: '1.05rem' } },
    }),
    Tooltip: Tooltip.extend({
      defaultProps: {
        withArrow: true,
        multiline: true,
        maw: 320,
        events: { hover: true, focus: true, touch: true },
      },
    }),
    Tabs: Tabs.extend({ defaultProps: { keepMounted: false } }),
    Select: Select.extend({
      defaultProps: { checkIconPosition: 'right', clearButtonProps: CLEAR },
    }),
    MultiSelect: MultiSelect.extend({ defaultProps: { clearButtonProps: CLEAR } }),
    Autocomplete: Autocomplete.extend({ defaultProps: { clearButtonProps: CLEAR } }),
    Notification: Notification.extend({
      defaultProps: { closeButtonProps: { 'aria-label': 'Close' } },
    }),
    SegmentedControl: SegmentedControl.extend({ defaultProps: { radius: 'md' } }),
    TextInput: TextInput.extend({ defaultProps: { autoComplete: 'off', spellCheck: false } }),
  },
});

/** Mantine's own muted text is too pale to be read by everyone; these pass WCAG AA. */
export const resolver: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': '#566270',
    '--mantine-color-placeholder': '#6b7683',
    '--mantine-color-body': '#ffffff',
    '--mantine-color-text': '#14202b',
    '--mantine-color-error': '#b4232a',
    '--mantine-color-anchor': '#0a6473',
  },
  dark: {
    '--mantine-color-dimmed': '#9fb0bd',
    '--mantine-color-placeholder': '#8b9aa6',
    '--mantine-color-body': '#141b22',
    '--mantine-color-text': '#e3eaf0',
    '--mantine-color-error': '#ff9a9a',
    '--mantine-color-anchor': '#6fd0de',
    '--mantine-color-default': '#1c252e',
    '--mantine-color-default-hover': '#24303a',
    '--mantine-color-default-border': '#34424e',
  },
});
