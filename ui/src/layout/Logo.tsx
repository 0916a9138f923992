/** A gate between two posts, above water. */
export function Logo({ size = 30 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b6e7f" />
      <path d="M8 6.5v19M24 6.5v19" stroke="#fff" strokeWidth="3" strokeLinecap="round" />
      <path d="M11 8.5h10v6.5H11z" fill="#fff" />
      <path
        d="M11 20c1.7-1.6 3.3-1.6 5 0s3.3 1.6 5 0M11 24.5c1.7-1.6 3.3-1.6 5 0s3.3 1.6 5 0"
        fill="none"
        stroke="#8fe3ee"
        strokeWidth="2"
        strokeLinecap="round"
      />
    </svg>
  );
}
