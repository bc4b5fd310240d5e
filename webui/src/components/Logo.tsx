export function Logo() {
  return (
    <span className="logo">
      <svg
        viewBox="0 0 24 24"
        width="20"
        height="20"
        aria-hidden="true"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.8"
        strokeLinecap="round"
      >
        <path d="M12 21V5" />
        <path d="M12 16C12 11 9.8 7.4 6 5.4" />
        <path d="M12 16c0-5 2.2-8.6 6-10.6" />
        <path d="M8 16.5h8" />
      </svg>
      Sheaf
    </span>
  );
}
