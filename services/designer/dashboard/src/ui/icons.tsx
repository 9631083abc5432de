import type { ReactNode } from 'react';

interface Props {
  size?: number;
}

/** Line icons on a 20 by 20 grid. They say nothing to screen readers: the control beside them has a name. */
function Icon({ size = 18, children }: Props & { children: ReactNode }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

export const OverviewIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M3 3h6v6H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 11h6v6H3z" />
  </Icon>
);
export const FunctionIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M7 5 3 10l4 5M13 5l4 5-4 5M11 4l-2 12" />
  </Icon>
);
export const TaskIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M4 4h12v12H4zM8 8l4 2-4 2z" />
  </Icon>
);
export const EntityIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="10" cy="10" r="2.5" />
    <path d="M5 5a7 7 0 0 0 0 10M15 5a7 7 0 0 1 0 10" />
  </Icon>
);
export const OperatorIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M10 2.5 17 6v8l-7 3.5L3 14V6zM3 6l7 3.5L17 6M10 9.5v8" />
  </Icon>
);
export const TopologyIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="4.5" cy="10" r="2" />
    <circle cx="15.5" cy="5" r="2" />
    <circle cx="15.5" cy="15" r="2" />
    <path d="M6.4 9.2 13.6 5.8M6.4 10.8l7.2 3.4" />
  </Icon>
);
export const IntentIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="10" cy="10" r="7" />
    <circle cx="10" cy="10" r="3" />
    <path d="M10 1v3M10 16v3M1 10h3M16 10h3" />
  </Icon>
);
export const SystemIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.01M6 13.5h.01" />
  </Icon>
);
export const DeviceIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M6 2.5h8v15H6zM9 15h2" />
  </Icon>
);
export const SubscriptionIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M3 10h11M10 5l5 5-5 5M17 4v12" />
  </Icon>
);
export const SunIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="10" cy="10" r="3.5" />
    <path d="M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1" />
  </Icon>
);
export const MoonIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M16.5 11.5A7 7 0 0 1 8.5 3.5a7 7 0 1 0 8 8z" />
  </Icon>
);
export const HelpIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="10" cy="10" r="7.5" />
    <path d="M7.8 7.6A2.3 2.3 0 0 1 12.3 8c0 1.6-2.3 1.8-2.3 3.4M10 14.2h.01" />
  </Icon>
);
export const PlusIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M10 4v12M4 10h12" />
  </Icon>
);
export const TrashIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6M8.5 9v4.5M11.5 9v4.5" />
  </Icon>
);
export const CopyIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M7 7h9v9H7zM4 13V4h9" />
  </Icon>
);
export const CheckIcon = (props: Props) => (
  <Icon {...props}>
    <path d="m4 10.5 4 4 8-9" />
  </Icon>
);
export const PlayIcon = (props: Props) => (
  <Icon {...props}>
    <path d="M6 4v12l10-6z" />
  </Icon>
);
export const SearchIcon = (props: Props) => (
  <Icon {...props}>
    <circle cx="9" cy="9" r="5.5" />
    <path d="m13.2 13.2 4 4" />
  </Icon>
);
